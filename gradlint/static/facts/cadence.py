"""How often things happen: which loops run once per batch, how many turns they have, and in what a count is counted.

It knows loops and arithmetic; it must not know rules.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.flow.tree import Branch, Call, Event, Loop, Node, Seq
from gradlint.static.lowering.values import Const, Unknown, Value
from gradlint.static.syntax.nodes import spelled as text_of
from gradlint.static.syntax.nodes import walk, walk_of

_LOADER = regex(r"loader|(^|_)dl(_|$)|_iter$|(^|_)batches$", re.IGNORECASE)
_WRAPPERS = frozenset(["enumerate", "tqdm", "trange", "zip", "islice", "iter", "track", "progress_bar", "prefetch"])


def over_batches(analysis: Analysis, number: int) -> bool:
    """Whether a loop gets one batch of a data loader each turn."""
    loop = analysis.lowering.loop_nodes.get(number)
    return isinstance(loop, (ast.For, ast.AsyncFor)) and any(
        is_loader(analysis, source) for source in sources_of(loop.iter)
    )


def sources_of(node: ast.expr) -> Iterator[ast.expr]:
    """Yield what a loop runs over, out of its wrappers."""
    match node:
        case ast.Call(func, args) if last_name(func) in _WRAPPERS:
            for arg in args:
                yield from sources_of(arg)
        case _:
            yield node


def is_loader(analysis: Analysis, node: ast.expr) -> bool:
    """Whether an expression is a data loader: built as one in this file, or named like one."""
    name = last_name(node)
    return bool(name) and (bool(_LOADER.search(name)) or name in _loaders(tree_of(analysis, node)))


def _loaders(tree: ast.Module) -> frozenset[str]:
    """Return the names that a file gives to a `DataLoader(...)`."""
    return frozenset(
        last_name(target)
        for node in walk_of(tree, ast.Assign)
        for target, value in _pairs(node)
        if isinstance(value, ast.Call) and last_name(value.func) == "DataLoader"
    )


def last_name(node: ast.AST) -> str:
    """Return the last word of a name, attribute or item with a literal key, else nothing."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return node.attr
        case ast.Subscript(slice=ast.Constant(str(name))):
            return name
        case _:
            return ""


def turns(analysis: Analysis, number: int) -> tuple[Value, ast.expr] | None:
    """Return where a loop over a `range` ends, as a value and as it is written."""
    loop = analysis.lowering.loop_nodes.get(number)
    if not isinstance(loop, ast.For):
        return None
    for source in sources_of(loop.iter):
        match source:
            case ast.Call(ast.Name("range" | "trange"), [stop] | [_, stop, *_]):
                return analysis.value(stop), stop
            case _:
                continue
    match loop.iter:
        case ast.Call(func, [stop] | [_, stop, *_]) if last_name(func) == "trange":
            return analysis.value(stop), stop
        case _:
            return None


def first_turn(loop: ast.AST | None) -> tuple[str, int] | None:
    """Return the id, without its frame, of the name that numbers the turns of a loop, and the first number."""
    if not isinstance(loop, (ast.For, ast.AsyncFor)):
        return None
    match loop.target, _numbering(loop.iter):
        case ast.Tuple([ast.Name(name), *_]), ast.Call(ast.Name("enumerate"), args, keywords):
            given = [*args[1:], *(keyword.value for keyword in keywords if keyword.arg == "start")]
        case ast.Name(name), ast.Call(ast.Name("range" | "trange"), [first, _]):
            given = [first]
        case ast.Name(name), ast.Call(ast.Name("range" | "trange"), [_]):
            given = []
        case _:
            return None
    match given:
        case []:
            return f"{name}@{loop.target.lineno}", 0
        case [ast.Constant(int(number))]:
            return f"{name}@{loop.target.lineno}", number
        case _:
            return None


def _numbering(node: ast.expr) -> ast.expr:
    """Return the `enumerate` or `range` that a loop runs over, out of a progress bar around it."""
    match node:
        case ast.Call(func, [inner, *_]) if last_name(func) in _WRAPPERS - {"enumerate", "zip", "trange"}:
            return _numbering(inner)
        case _:
            return node


def counts_updates(analysis: Analysis, node: ast.expr, scope: ast.AST | None, length: str, depth: int = 3) -> bool:
    """Whether a count is divided by the length of an accumulation window, so that it is one of updates."""
    for part in walk(node):
        match part:
            case ast.BinOp(_, ast.Div() | ast.FloorDiv(), right) if spelled(analysis.value(right)) == length:
                return True
            case ast.Name() | ast.Attribute() if depth:
                given = definitions(analysis, part, scope)
                if len(given) == 1 and counts_updates(analysis, given[0], scope, length, depth - 1):
                    return True
    return False


def spelled(value: Value) -> str:
    """Return the text by which equal counts are known ("": it is not known)."""
    match value:
        case Const(literal):
            return repr(literal)
        case Unknown(id=id_):
            return id_
        case _:
            return ""


def word_of(id_: str) -> str:
    """Return the name that a value of this id has in the source."""
    return re.split("[%@#]", re.split("[/.]", id_)[-1])[0]


def same_count(one: Value, other: Value) -> bool:
    """Whether two counts are certainly equal."""
    match one, other:
        case Const(int(a)), Const(int(b)):
            return a == b
        case Unknown(id=a), Unknown(id=b):
            return bool(a) and a == b
        case _:
            return False


def tree_of(analysis: Analysis, node: ast.AST) -> ast.Module:
    """Return the file in which a node stands that was read."""
    module = analysis.lowering.foreign.get(node)
    return module.contents.tree if module is not None else analysis.tree


def definitions(analysis: Analysis, name: ast.expr, scope: ast.AST | None) -> list[ast.expr]:
    """Return what is assigned to a name in a function, or else in the module."""
    text = text_of(name)
    for around in (scope, tree_of(analysis, name)):
        if around is not None:
            found = [
                value
                for node in walk_of(around, ast.Assign)
                for target, value in _pairs(node)
                if type(target) is type(name) and text_of(target) == text
            ]
            if found:
                return found
    return []


def _pairs(node: ast.Assign) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield what is assigned to, and what it is given: `a, b = c, d` are two assignments."""
    value = node.value
    for target in node.targets:
        several = isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, (ast.Tuple, ast.List))
        if several and len(target.elts) == len(value.elts):  # type: ignore[attr-defined]
            yield from zip(target.elts, value.elts, strict=True)  # type: ignore[attr-defined]
        else:
            yield target, value


def conditional(tree: Node, event: Event, loop: int) -> bool:
    """Whether a branch stands between an event and the loop `loop` around it."""
    return _between(tree, event, loop, inside=False, branched=False)


def _between(node: Node, event: Event, loop: int, *, inside: bool, branched: bool) -> bool:
    # No patterns: see `tree.walk`.
    if isinstance(node, Seq):
        for item in node.items:
            if type(item) is Event:  # Most items are.
                if branched and item == event:
                    return True
            elif _between(item, event, loop, inside=inside, branched=branched):
                return True
        return False
    if isinstance(node, Branch):
        return any(_between(side, event, loop, inside=inside, branched=inside) for side in (node.then, node.orelse))
    if isinstance(node, Loop):
        here, parts = inside or node.number == loop, (node.first, node.later, node.orelse)
        return any(_between(part, event, loop, inside=here, branched=branched) for part in parts)
    if isinstance(node, Call):
        return _between(node.body, event, loop, inside=inside, branched=branched)
    return branched and node == event
