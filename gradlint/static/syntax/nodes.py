"""The nodes of a syntax tree, walked as fast as Python can and once per scope, for many questions are asked of each.

It knows `ast` only. The marks of names and operators (`ast.Load`, `ast.Add`, ...) are not among the nodes: they are read
from the nodes that have them.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

_Answer = TypeVar("_Answer")
_Node = TypeVar("_Node", bound=ast.AST)

_PLAIN = frozenset(
    [
        "arg",
        "asname",
        "attr",
        "conversion",
        "ctx",
        "id",
        "is_async",
        "kind",
        "kwd_attrs",
        "level",
        "module",
        "name",
        "op",
        "ops",
        "rest",
        "simple",
        "type_comment",
        "type_ignores",
    ]
)
"""Fields that hold no nodes, or only marks."""
_KEPT = frozenset([ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.For, ast.AsyncFor, ast.While])
"""What is asked about again and again."""

_SCOPES = frozenset([ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda])
_LOOPS = frozenset([ast.For, ast.AsyncFor, ast.While])
_PARTS = _SCOPES | _LOOPS


class _Fields(dict[type[ast.AST], tuple[str, ...]]):
    """The fields of each kind of syntax that may hold nodes."""

    def __missing__(self, kind: type[ast.AST]) -> tuple[str, ...]:
        """Find them."""
        self[kind] = tuple(name for name in kind._fields if name not in _PLAIN)
        return self[kind]


_BLOCKS = frozenset(["body", "handlers", "orelse", "finalbody", "cases"])


class _Blocks(dict[type[ast.AST], tuple[str, ...]]):
    """The fields of each kind of syntax that hold statements, or what these are parted into."""

    def __missing__(self, kind: type[ast.AST]) -> tuple[str, ...]:
        """Find them."""
        has_blocks = issubclass(kind, (ast.mod, ast.stmt, ast.excepthandler, ast.match_case))
        self[kind] = tuple(name for name in kind._fields if name in _BLOCKS) if has_blocks else ()
        return self[kind]


_blocks = _Blocks()
_fields = _Fields(dict.fromkeys((ast.Constant, ast.MatchSingleton, ast.Global, ast.Nonlocal), ()))


def children(node: ast.AST) -> list[ast.AST]:
    """Return the nodes right below a node, in order."""
    found: list[ast.AST] = []
    for name in _fields[type(node)]:
        value = getattr(node, name, None)
        if type(value) is list:
            found += [each for each in value if each is not None] if None in value else value
        elif value is not None:
            found.append(value)
    return found


def walk(node: ast.AST) -> list[ast.AST]:
    """Return a node and all below it, breadth first."""
    return [node, *below(node)]


def names(node: ast.AST) -> Iterator[ast.Name]:
    """Yield the names in a node."""
    return (each for each in walk(node) if isinstance(each, ast.Name))


def words(node: ast.AST) -> set[str]:
    """Return the texts of the names in a node."""
    return {each.id for each in names(node)}


def root(node: ast.AST) -> ast.AST:
    """Return what a chain of attributes begins with."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node


def base_name(node: ast.AST) -> str:
    """Return the name that an expression is, or of which it is an attribute or element ("": it is of none)."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """Yield the blocks of a statement, but for those of its handlers and cases, which are nodes of their own."""
    for name in _blocks[type(node)]:
        block = getattr(node, name)
        if block and name not in ("handlers", "cases"):
            yield block


def blocks_in(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    """Yield the blocks of all statements in a tree."""
    return (block for node in walk(tree) if _blocks[type(node)] for block in blocks(node))


def called(call: ast.Call) -> str:
    """Return the name of the function or method that a call is of, "" if it has none."""
    callee = call.func  # No pattern: it is asked of nearly every call.
    if isinstance(callee, ast.Name):
        return callee.id
    return callee.attr if isinstance(callee, ast.Attribute) else ""


def receiver(call: ast.Call) -> str:
    """Return the text of what a method is called of, "" for a function."""
    return spelled(call.func.value) if isinstance(call.func, ast.Attribute) else ""


def spelled(node: ast.AST) -> str:
    """Return the text of an expression: that of names with dots costs less than others'."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, (ast.Name, ast.Attribute)):
        return f"{spelled(node.value)}.{node.attr}"
    return ast.unparse(node)


def parameters(arguments: ast.arguments) -> frozenset[str]:
    """Return the names of all the parameters of a function."""
    return frozenset(each.arg for each in walk_of(arguments, ast.arg))


def defaults(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    """Yield the arguments that need not be given, and what they are then."""
    positional = [*arguments.posonlyargs, *arguments.args]
    pairs = [
        *zip(reversed(positional), reversed(arguments.defaults), strict=False),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    return ((arg.arg, default) for arg, default in pairs if default is not None)


def own(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below a scope in order, but for what is below a function or class in it."""
    known: list[ast.AST] | None = getattr(scope, "_own", None)
    if known is None:
        known, todo = [], children(scope)[::-1]
        fields = _fields
        while todo:
            node = todo.pop()
            known.append(node)
            kind = type(node)
            if kind in _PARTS:
                if kind in _LOOPS:
                    known += own(node)  # It is asked about, too.
                continue
            # As `_descend`, the last child first.
            for name in reversed(fields[kind]):
                value = getattr(node, name, None)
                if value is None:
                    continue
                if type(value) is not list:
                    todo.append(value)
                elif None in value:
                    todo += [each for each in reversed(value) if each is not None]
                else:
                    todo += value[::-1]
        if type(scope) in _KEPT:
            scope._own = known  # type: ignore[attr-defined]
    return iter(known)


def own_statements(scope: ast.AST) -> Iterator[ast.stmt]:
    """Yield the statements among the `own` of a scope: most nodes are expressions."""
    todo = [each for name in reversed(_blocks[type(scope)]) for each in reversed(getattr(scope, name))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.stmt):
            yield node
        if type(node) not in _SCOPES:
            for name in reversed(_blocks[type(node)]):
                todo += getattr(node, name)[::-1]


def own_of(scope: ast.AST, kind: type[_Node]) -> list[_Node]:
    """Return the nodes of one kind of syntax among the `own` of a scope; whoever gets the list must not change it."""
    kept, nodes = ("_statements_by_kind", own_statements) if issubclass(kind, ast.stmt) else ("_own_by_kind", own)
    if type(scope) not in _KEPT:
        return [each for each in nodes(scope) if type(each) is kind]
    found: list[_Node] = _by_kind(scope, kept, nodes).get(kind, [])  # type: ignore[assignment]
    return found


def own_named(scope: ast.AST, name: str) -> list[ast.Name]:
    """Return the names among the `own` of a scope that read so; whoever gets the list must not change it."""
    known: dict[str, list[ast.Name]] | None = getattr(scope, "_own_by_name", None)
    if known is None:
        known = defaultdict(list)
        for each in own_of(scope, ast.Name):
            known[each.id].append(each)
        if type(scope) in _KEPT:
            scope._own_by_name = known  # type: ignore[attr-defined]
    return known.get(name, [])


def walk_of(node: ast.AST, kind: type[_Node]) -> list[_Node]:
    """Return the nodes of one kind of syntax in a node, breadth first; whoever gets the list must not change it."""
    if type(node) not in _KEPT:
        return [each for each in walk(node) if type(each) is kind]
    # Without itself, which would be a cycle.
    found: list[_Node] = _by_kind(node, "_below_by_kind", below).get(kind, [])  # type: ignore[assignment]
    return [node, *found] if isinstance(node, kind) else found


def _by_kind(
    node: ast.AST, name: str, nodes: Callable[[ast.AST], Iterable[ast.AST]]
) -> dict[type[ast.AST], list[ast.AST]]:
    known: dict[type[ast.AST], list[ast.AST]] | None = getattr(node, name, None)
    if known is None:
        known = defaultdict(list)
        for each in nodes(node):
            known[type(each)].append(each)
        setattr(node, name, known)
    return known


def once(question: Callable[[ast.AST], _Answer], node: ast.AST) -> _Answer:
    """Return the answer to a question about a node that many ask."""
    # The node itself keeps it: a table of weak references takes time to be emptied.
    try:
        known: dict[Hashable, object] = node._answers  # type: ignore[attr-defined]
    except AttributeError:
        known = node._answers = {}  # type: ignore[attr-defined]
    if question not in known:
        known[question] = question(node)
    return known[question]  # type: ignore[return-value]


def asks_for(node: ast.AST, attribute: str) -> bool:
    """Tell whether anything in a node is asked for an attribute of that name."""
    return any(each.attr == attribute for each in walk_of(node, ast.Attribute))


def below(node: ast.AST) -> list[ast.AST]:
    """Return all nodes below a node, breadth first; whoever gets the list must not change it."""
    known: list[ast.AST] | None = getattr(node, "_below", None)
    if known is not None:
        return known
    found = children(node)
    begins = _descend(found, found)  # It grows meanwhile.
    if type(node) in _KEPT:
        node._below = found  # type: ignore[attr-defined]
        _keep_inner(found, [*begins, len(found)])
    return found


def _keep_inner(found: list[ast.AST], begins: list[int]) -> None:
    """Keep what is below each scope or loop among the nodes below another one.

    In breadth-first order that is a stretch in each level: the children of a stretch are the next one.
    """
    for at, node in enumerate(found):
        if type(node) in _KEPT:
            inner: list[ast.AST] = []
            start, end = begins[at], begins[at + 1]
            while start < end:
                inner += found[start:end]
                start, end = begins[start], begins[end]
            node._below = inner  # type: ignore[attr-defined]


def _descend(nodes: Iterable[ast.AST], found: list[ast.AST]) -> list[int]:
    """Add the children of each of `nodes` to `found`; return where those of each begin in it."""
    fields, begins = _fields, list[int]()
    for node in nodes:
        begins.append(len(found))
        for name in fields[type(node)]:
            value = getattr(node, name, None)
            if value is None:
                continue
            if type(value) is not list:
                found.append(value)
            elif None in value:
                found += [each for each in value if each is not None]
            else:
                found += value
    return begins
