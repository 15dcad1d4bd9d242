"""What the user's source says around a running call: the call itself, and where a name was assigned.

Works on the source of one code object, read once an error is there. Knows `ast` and code objects; must not know torch or rules.
"""

from __future__ import annotations

import ast
import inspect
import linecache
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType

from gradlint.diagnostics import Location

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)

_TAIL = 8  # rows that a statement may go on without code of its own

_Assignment = ast.Assign | ast.AugAssign | ast.AnnAssign
_ASSIGNMENTS = (ast.Assign, ast.AugAssign, ast.AnnAssign)


@dataclass(frozen=True, slots=True)
class Source:
    """The tree of a function, or of a module, in the rows of its file."""

    filename: str
    tree: ast.AST
    statements: tuple[ast.stmt, ...]

    def place(self, node: ast.expr | ast.stmt) -> Location:
        """Return where a node is."""
        end_row, end_column = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
        return Location(self.filename, node.lineno, node.col_offset + 1, end_row, end_column + 1)

    def call_at(self, place: Location) -> ast.Call | None:
        """Return the innermost call that begins and ends where `place` does, else the first one of its row."""
        calls = [node for node in self.own() if isinstance(node, ast.Call)]
        exact = [node for node in calls if self.place(node) == place]
        return next(iter([*exact, *(node for node in calls if node.lineno == place.row)]), None)

    def own(self) -> Iterator[ast.AST]:
        """Yield the nodes, but for those of nested functions and classes."""
        queue: list[ast.AST] = list(self.statements)
        for node in queue:
            yield node
            if not isinstance(node, _SCOPES):
                queue.extend(ast.iter_child_nodes(node))

    def assignments(self, name: str, before: int) -> list[_Assignment]:
        """Return the assignments of `name`: the last one above a row first, those below it last, for a loop leads back."""
        found = [node for node in self.own() if isinstance(node, _ASSIGNMENTS) and name in _targets(node)]
        found.sort(key=lambda node: (node.lineno >= before, -node.lineno))
        return found

    def assigned(self, name: str, before: int) -> _Assignment | None:
        """Return the assignment of `name` that comes first in `assignments`."""
        return next(iter(self.assignments(name, before)), None)

    def assigned_in(self, row: int) -> str | None:
        """Return the name that the statement around a row assigns, if it does."""
        found = (node for node in self.own() if isinstance(node, _ASSIGNMENTS))
        around = next((node for node in found if node.lineno <= row <= (node.end_lineno or row)), None)
        return None if around is None else min(_targets(around), default=None)

    def made(self, spelled: ast.expr) -> ast.expr | None:
        """Return what was assigned last to a name, or written into a dict under the key that is asked for."""
        assigned = self.assigned(ast.unparse(spelled), spelled.lineno)
        if assigned is not None:
            return assigned.value
        match spelled:
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=key)):
                assigned = self.assigned(name, spelled.lineno)
                written = assigned.value if assigned is not None else None
                return next(iter(entries(written, key)), None) if isinstance(written, ast.Dict) else None
        return None

    def changed(self, name: str) -> Location | None:
        """Return the last statement that changes the object of a name in place, if there is one."""
        places = [
            self.place(node) for node in self.own() if isinstance(node, ast.stmt | ast.expr) and _changes(node, name)
        ]
        return max(places, default=None)

    def returned(self) -> Iterator[ast.expr]:
        """Yield what the function returns."""
        yield from (node.value for node in self.own() if isinstance(node, ast.Return) and node.value is not None)

    def statement_at(self, row: int) -> ast.stmt | None:
        """Return the innermost statement that a row belongs to, None if there is none without statements of its own."""
        found = (each for each in self.own() if isinstance(each, ast.stmt) and not hasattr(each, "body"))
        return next((each for each in found if each.lineno <= row <= (each.end_lineno or each.lineno)), None)

    def contexts(self, node: ast.AST) -> Iterator[ast.expr]:
        """Yield the context managers of the `with` statements around a node, and the decorators of the function."""
        for outer in self.own():
            if isinstance(outer, ast.With) and any(inner is node for inner in ast.walk(outer)):
                yield from (item.context_expr for item in outer.items)
        yield from getattr(self.tree, "decorator_list", ())


def entries(written: ast.Dict, key: object) -> list[ast.expr]:
    """Return what a dict that is written out has under a key."""
    pairs = zip(written.keys, written.values, strict=True)
    return [value for at, value in pairs if isinstance(at, ast.Constant) and at.value == key]


def _targets(node: _Assignment) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    flat = [each for target in targets for each in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return {ast.unparse(target) for target in flat}


def _changes(node: ast.AST, name: str) -> bool:
    match node:
        case ast.AugAssign(target=ast.Subscript(value=target) | target):
            return ast.unparse(target) == name
        case ast.Assign(targets=[ast.Subscript(value=target)]):
            return ast.unparse(target) == name
        case ast.Call(func=ast.Attribute(value=target, attr=attr)):
            return attr.endswith("_") and not attr.endswith("__") and ast.unparse(target) == name
    return False


def source_of(code: CodeType) -> Source | None:
    """Return the source of a code object, None if it cannot be read."""
    lines = linecache.getlines(code.co_filename)
    rows = [row for _, _, row in code.co_lines() if row and row <= len(lines)]
    if not rows:
        return None
    if code.co_name == "<module>":
        tree = parsed(lines) or _parsed_within(lines, min(rows), max(rows))
        return None if tree is None else Source(code.co_filename, tree, tuple(tree.body))
    tree = parsed(
        [*lines[: code.co_firstlineno - 1], *inspect.getblock(lines[code.co_firstlineno - 1 :])], code.co_firstlineno
    )
    outer = tree.body[0] if tree is not None and tree.body else None
    while isinstance(outer, ast.If):  # what was put around an indented function
        outer = outer.body[0]
    if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef):
        return Source(code.co_filename, outer, tuple(outer.body))
    return None


def _parsed_within(lines: list[str], first: int, last: int) -> ast.Module | None:
    """Parse some rows of a file that is no program, and what follows them up to the end of the last statement."""
    ends = range(last, min(last + _TAIL, len(lines)) + 1)
    return next((tree for tree in (parsed(lines[:end], first) for end in ends) if tree is not None), None)


def parsed(lines: list[str], first: int = 1) -> ast.Module | None:
    """Return the tree of the lines from row `first` on, in the rows of their file; None if they are no program."""
    part = lines[first - 1 :]
    indented = bool(part) and part[0][:1].isspace()
    text = "if 1:\n" * indented + "".join(part)
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    return ast.increment_lineno(tree, first - 1 - indented)
