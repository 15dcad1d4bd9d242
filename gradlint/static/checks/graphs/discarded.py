"""Results that are thrown away: GL522."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import by_words, check
from gradlint.static.flow.tree import Uid
from gradlint.static.lowering.values import Tensor, Value
from gradlint.static.syntax.nodes import asks_for, walk_of, words

_RETURNING = frozenset(["detach", "to", "cuda", "cpu", "float", "half", "double", "contiguous"])
"""Methods of a tensor that only return another one."""
_WITH_TWINS = frozenset(["add", "clamp", "clip", "div", "masked_fill", "mul", "nan_to_num", "sub"])
"""Methods of a tensor that return another one, and have a twin with `_` at its end that changes it."""
_TWINS = "the methods with `_` at the end of their names do"
_YIELDING_PARAMETERS = ("parameters", "named_parameters")


@check
@by_words
def discarded_result(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL522: `hidden.detach()` as a statement, and `state_dict` where `load_state_dict` is meant."""
    for node in analysis.nodes(ast.Expr):
        match node.value:
            case ast.Call(func=ast.Attribute(value=owner, attr=name)) if name in _RETURNING and not _is_shown(
                analysis, node
            ):
                if _is_tensor(analysis, analysis.value(owner)):
                    subject = ast.unparse(owner)
                    place = analysis.source.place(node)
                    call = ast.unparse(node)
                    remedy = f"keep what it returns: `{subject} = {call}`"
                    what = f"`{call}` changes nothing: it returns another tensor, which is thrown away"
                    yield compose("GL522", Side.STATIC, place, what=what, remedy=remedy)
            case ast.Call(ast.Attribute(owner, "state_dict"), [given], []) if _is_state(given):
                subject = ast.unparse(owner)
                what = f"`{subject}` stays as it is: `state_dict` only reads, and the state that it is given is thrown away"
                remedy = f"load it: `{subject}.load_state_dict({ast.unparse(given)})`"
                yield compose("GL522", Side.STATIC, analysis.source.place(node), what=what, remedy=remedy)
            case ast.Call() as call if (kept := _meant_to_change(analysis, call)) and not _is_shown(analysis, node):
                subject, function = ast.unparse(kept), ast.unparse(call.func)
                what = f"`{subject}` stays as it is: `{function}` returns another tensor, which is thrown away"
                place, remedy = analysis.source.place(node), f"change it in place: {_TWINS}"
                yield compose("GL522", Side.STATIC, place, what=what, remedy=remedy)
            case _:
                continue


def _meant_to_change(analysis: Analysis, call: ast.Call) -> ast.Attribute | None:
    """Return the gradient, or the values of a parameter, from which a call computes something that replaces neither."""
    match call:
        case ast.Call(
            ast.Attribute(ast.Name("torch"), "clamp" | "clip"), [ast.Attribute(attr="grad" | "data") as kept, *_]
        ):
            return None if any(each.arg == "out" for each in call.keywords) else kept
        case ast.Call(ast.Attribute(ast.Attribute(attr="grad") as kept, name)) if name in _WITH_TWINS:
            return kept
        case ast.Call(ast.Attribute(ast.Attribute(ast.Name(owner), "data") as kept, name)) if name in _WITH_TWINS:
            # Sets and frames of data have such methods, too.
            return kept if _is_parameter(analysis, owner, call) else None
        case ast.Call(ast.Attribute(ast.Call() as inner, name)) if name in _WITH_TWINS:
            return _meant_to_change(analysis, inner)
        case _:
            return None


def _is_parameter(analysis: Analysis, name: str, call: ast.Call) -> bool:
    """Whether a name is that of a loop over parameters, in which it is used here."""
    around = (loop for loop in analysis.nodes(ast.For) if any(each is call for each in walk_of(loop, ast.Call)))
    return any(
        name in words(loop.target) and any(asks_for(loop.iter, each) for each in _YIELDING_PARAMETERS)
        for loop in around
    )


def _is_shown(analysis: Analysis, node: ast.AST) -> bool:
    """Whether a statement is the last one of a notebook's cell, which shows what it returns."""
    body = analysis.tree.body if analysis.pieces else []
    if node not in body:
        return False
    after = body[body.index(node) + 1 :]
    row = getattr(node, "lineno", 0)
    return not after or any(row < begin <= after[0].lineno for begin in analysis.pieces)


def _is_state(given: ast.expr) -> bool:
    """Whether an argument is the state of another model, or one that was saved."""
    match given:
        case ast.Call(ast.Attribute(attr="state_dict")) | ast.Call(ast.Attribute(ast.Name("torch"), "load")):
            return True
        case _:
            return False


def _is_tensor(analysis: Analysis, value: Value) -> bool:
    """Whether a value is certainly a tensor: a batch, or a part of what an unknown module returned, may be anything.

    What a class in sight returns is one, unless a state of its own may know how to be detached.
    """
    match value:
        case Tensor(nodes=nodes, made=made):
            known = any(node.sure for node in nodes) or (made is not None and made.op != "data")
            return known or any(_has_no_states(analysis, node.module) for node in nodes)
        case _:
            return False


def _has_no_states(analysis: Analysis, module: Uid) -> bool:
    lowering = analysis.lowering
    cls = lowering.instances.get(module)
    if cls is None or lowering.is_open(cls):
        return False
    homes = [lowering.frames.get(each.frame, lowering.module).module for each in lowering.lineage(cls)]
    return bool(homes) and not any("def detach" in home.source.text for home in homes)
