"""Calls that only try whether a model runs, or how fast.

It knows what is looked at of what a call returns; it must not know rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from gradlint.static.analysis import Analysis
from gradlint.static.flow.tree import Event
from gradlint.static.syntax.idioms import uncounted
from gradlint.static.syntax.nodes import own, walk

_MEASURES = frozenset(["device", "dim", "dtype", "ndim", "ndimension", "numel", "shape", "size", "type"])
_DRAWS = frozenset(["empty", "normal", "ones", "rand", "randint", "randn", "random", "uniform", "zeros"])
_FILLS = frozenset(["full", "ones", "zeros"])
_WRAPS = frozenset(["FloatTensor", "Tensor", "Variable", "as_tensor", "from_numpy", "tensor"])


def is_of_one_number(analysis: Analysis, event: Event) -> bool:
    """Whether a forward is given tensors that are filled with one number: there is nothing to learn from them, but its time."""
    frame = analysis.lowering.frames.get(event.frame)
    nodes = list(own(analysis.tree if frame is None or frame.node is None else frame.node))
    forwards = [each for each in nodes if isinstance(each, ast.Call) and analysis.source.place(each) == event.place]
    return bool(forwards) and all(_takes(_FILLS, each, nodes) for each in forwards)


def is_trial(analysis: Analysis, event: Event) -> bool:
    """Whether nobody looks at more than the size of what a forward returns, or only prints what it makes of drawn numbers."""
    frame = analysis.lowering.frames.get(event.frame)
    nodes = list(own(analysis.tree if frame is None or frame.node is None else frame.node))
    forwards = [each for each in nodes if isinstance(each, ast.Call) and analysis.source.place(each) == event.place]
    looked = [part for node in nodes for part in _measured(node)]
    if any(each in forwards for each in looked):
        return True
    drawn = bool(forwards) and all(_takes(_DRAWS, each, nodes) for each in forwards)
    looked += [part for node in nodes for part in _printed(node)] if drawn else []
    assigned = [node for node in nodes if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)]
    names = {name for node in assigned if node.value in forwards for name in _names(node.targets)}
    for node in sorted(assigned, key=lambda each: each.lineno) if drawn else ():
        # Whoever is given what came out of it is tried, too.
        given = [arg for arg in getattr(node.value, "args", ()) if isinstance(arg, ast.Name) and arg.id in names]
        looked += given
        names.update(_names(node.targets) if given else ())
    for loop in (node for node in nodes if isinstance(node, ast.For)):
        target, source = uncounted(loop.target, loop.iter)
        if isinstance(source, ast.Name) and source.id in names:
            looked.append(source)
            names |= set(_names([target]))
    loads = (node for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
    uses = [node for node in loads if node.id in names]
    return bool(uses) and all(use in looked for use in uses)


def _measured(node: ast.AST) -> Iterator[ast.expr]:
    """Yield what a node asks for its size or kind."""
    if isinstance(node, ast.Attribute) and node.attr in _MEASURES:
        yield _whole(node.value)


def _printed(node: ast.AST) -> Iterator[ast.expr]:
    match node:
        case ast.Call(ast.Name("print"), args):
            yield from map(_whole, args)


def _takes(made: frozenset[str], call: ast.Call, nodes: list[ast.AST]) -> bool:
    """Whether a model is given only what is `made` in one of some ways: by that call, or by a name that nothing else is given to."""
    return bool(call.args) and all(_is(made, arg) or _stands_for(made, arg, nodes) for arg in call.args)


def _stands_for(made: frozenset[str], arg: ast.expr, nodes: list[ast.AST]) -> bool:
    match arg:
        case ast.Name(name):
            stores = [each for each in nodes if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)]
            given = [node.value for node in nodes if isinstance(node, ast.Assign) and name in _names(node.targets)]
            return len(given) == sum(each.id == name for each in stores) == 1 and _is(made, given[0])
        case _:
            return False


def _is(made: frozenset[str], node: ast.expr) -> bool:
    """Whether an expression is a tensor that is `made` in one of some ways, converted and moved at most."""
    match node:
        case ast.Call(ast.Attribute(_, name) | ast.Name(name), [inner, *_]) if name in _WRAPS:
            return _is(made, inner)
        case ast.Call(ast.Attribute(owner, name)):
            return name in made or _is(made, owner)
        case _:
            return False


def _names(targets: Iterable[ast.expr]) -> Iterator[str]:
    return (each.id for target in targets for each in walk(target) if isinstance(each, ast.Name))


def _whole(part: ast.expr) -> ast.expr:
    """Return what an element is taken of: `outputs` of `outputs[0]`."""
    while isinstance(part, ast.Subscript):
        part = part.value
    return part
