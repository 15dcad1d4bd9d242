"""Objects of torch that are called or given in the wrong form: GL810, GL811 and GL812."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import combinations

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import by_words, check
from gradlint.static.lowering.values import UNKNOWN, Const, Library
from gradlint.static.sources.library import role_of
from gradlint.static.syntax.nodes import defaults

_FLAGS_FIRST = frozenset(
    ["MSELoss", "L1Loss", "SmoothL1Loss", "KLDivLoss", "CrossEntropyLoss", "NLLLoss", "BCELoss", "BCEWithLogitsLoss"]
)
"""Losses whose second argument is the flag `size_average` or `reduce`: who gives more than that gives tensors."""


@check
@by_words
def called_in_the_wrong_form(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL810, GL811 and GL812."""
    losses, groups_given = analysis.says(*_FLAGS_FIRST), analysis.says("params")
    for node in analysis.nodes(ast.Call) if losses or groups_given or analysis.says("forward") else ():
        callee = node.func
        if isinstance(callee, ast.Attribute) and callee.attr == "forward" and _is_module(analysis, callee.value):
            place, subject = analysis.source.place(node), ast.unparse(callee.value)
            yield compose("GL810", Side.STATIC, place, subject=subject)
            continue
        if losses and len(node.args) > 1:
            yield from _loss_given_tensors(analysis, node, callee, node.args[1])
        elif groups_given and len(node.args) == 1 and isinstance(node.args[0], ast.List):
            yield from _overlapping(analysis, callee, node.args[0].elts)


def _is_module(analysis: Analysis, owner: ast.expr) -> bool:
    """Whether a value is a module; what runs itself is inside already."""
    if isinstance(owner, ast.Name) and owner.id == "self":
        return False
    return analysis.is_module(owner)


def _loss_given_tensors(analysis: Analysis, node: ast.Call, callee: ast.expr, second: ast.expr) -> Iterator[Diagnostic]:
    """GL811: `nn.MSELoss(prediction, target)`, which makes a loss function of two flags."""
    known = analysis.value(callee)
    if not isinstance(known, Library) or role_of(known.name) != "criterion":
        return
    last = known.name.rpartition(".")[2]
    flag = isinstance(second, ast.Constant) or isinstance(analysis.value(second), Const) or _is_option(analysis, second)
    if last in _FLAGS_FIRST and known.name.startswith("torch.nn.") and not flag:
        yield compose("GL811", Side.STATIC, analysis.source.place(node), subject=ast.unparse(callee))


def _is_option(analysis: Analysis, given: ast.expr) -> bool:
    """Whether a value is an argument of the function around that is a constant where nobody gives it: no tensor."""
    function = analysis.function_in(given.lineno)
    pairs = defaults(function.args) if function is not None else ()
    optional = {name for name, default in pairs if isinstance(default, ast.Constant)}
    return isinstance(given, ast.Name) and given.id in optional


def _overlapping(analysis: Analysis, callee: ast.expr, groups: list[ast.expr]) -> Iterator[Diagnostic]:
    """GL812: groups of an optimizer of which one has all that another one has."""
    owners = [(owner, group) for group in groups for owner in _owner(group)]
    known = analysis.value(callee) if len(owners) > 1 else UNKNOWN
    if not isinstance(known, Library) or role_of(known.name) != "optimizer":
        return
    for (one, _), (other, group) in combinations(owners, 2):
        if _is_part(one, other) or _is_part(other, one):
            place = analysis.source.place(group)
            yield compose("GL812", Side.STATIC, place, subject=other, other=one)
            return


def _owner(group: ast.expr) -> Iterator[str]:
    """Yield whose parameters a group has, all of them."""
    match group:
        case ast.Dict(keys, values):
            for key, value in zip(keys, values, strict=True):
                match key, value:
                    case ast.Constant("params"), ast.Call(ast.Attribute(owner, "parameters"), []):
                        yield ast.unparse(owner)


def _is_part(part: str, whole: str) -> bool:
    return part == whole or part.startswith((f"{whole}.", f"{whole}["))
