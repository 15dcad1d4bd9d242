"""What schedulers are told: GL206 and GL207."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Edit, Fix, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.facts.cadence import definitions, last_name, tree_of
from gradlint.static.facts.schedules import class_of
from gradlint.static.lowering.values import Const, Instance, Kind, Object, Tensor
from gradlint.static.syntax.nodes import walk, walk_of

_FALLING = frozenset(
    ["loss", "losses", "err", "error", "errors", "mse", "mae", "rmse", "nll", "perplexity", "ppl", "wer", "cer"]
)
_RISING = frozenset(
    ["acc", "accs", "accuracy", "f1", "auc", "auroc", "iou", "miou", "bleu", "psnr", "ssim", "recall", "precision"]
)
_SAME = frozenset(["item", "mean", "float", "detach", "cpu", "numpy", "sum", "average", "nanmean", "array", "tensor"])
_FRACTIONS = frozenset(["CosineAnnealingWarmRestarts"])
"""Schedulers that are stepped with a fraction of an epoch."""


def _told(analysis: Analysis) -> Iterator[tuple[ast.Call, Object]]:
    """Yield the calls of a scheduler's own `step`, and not those of an engine that steps it."""
    for node, scheduler in analysis.lowering.schedules:
        match node.func:
            case ast.Attribute(owner, "step"):
                known = analysis.value(owner)
                if not isinstance(known, Instance) and not (isinstance(known, Object) and known.kind is Kind.ENGINE):
                    yield node, scheduler
            case _:
                continue


_FUNCTIONS = frozenset([ast.FunctionDef, ast.AsyncFunctionDef])


@check
def metric_as_epoch(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL206: a loss given to a scheduler that takes it for the number of the epoch."""
    for node, scheduler in _told(analysis):
        cls = class_of(scheduler)
        if not cls or cls == "ReduceLROnPlateau" or cls in _FRACTIONS or _chosen(analysis, node):
            continue
        match node.args, node.keywords:
            case [given], []:
                yield from _epoch(analysis, node, scheduler, given)
            case _:
                continue


def _epoch(analysis: Analysis, node: ast.Call, scheduler: Object, given: ast.expr) -> Iterator[Diagnostic]:
    scope = _scope(analysis, node)
    if not isinstance(analysis.value(given), Tensor) and direction(analysis, given, scope) is None:
        return
    cls = class_of(scheduler)
    place, metric = analysis.source.place(node), ast.unparse(given)
    found = compose("GL206", Side.STATIC, place, subject=_receiver(node), cls=cls, metric=metric)
    if any(isinstance(part, (ast.Call, ast.NamedExpr, ast.Await)) for part in walk(given)):
        yield found
        return
    yield replace(found, fix=Fix("Drop the argument", (Edit(analysis.source.place(given), ""),), safe=True))


@check
def wrong_direction(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL207: a plateau scheduler that waits for a falling metric is given one that rises, or the other way round."""
    asked: dict[ast.Call, list[Object]] = defaultdict(list)
    for node, scheduler in _told(analysis):
        if scheduler.origin.endswith(".ReduceLROnPlateau") and scheduler.calls:
            asked[node].append(scheduler)
    for node, schedulers in asked.items():
        given = (
            node.args[0] if node.args else next((each.value for each in node.keywords if each.arg == "metrics"), None)
        )
        # Of several, the one that is meant may be chosen by what also chose the metric.
        made = [analysis.lowering.objects.get(scheduler.uid, scheduler) for scheduler in schedulers]
        modes = {_mode(call.argument(1, "mode")) for scheduler in made for call in scheduler.calls}
        goes = None if given is None else direction(analysis, given, _scope(analysis, node))
        if given is not None and goes is not None and len(modes) == 1 and modes <= {"min", "max"} - {goes}:
            place, marks = analysis.source.place(node), [("built", each.place) for each in schedulers[:1]]
            metric, mode = ast.unparse(given), modes.pop()
            yield compose(
                "GL207", Side.STATIC, place, marks, subject=_receiver(node), metric=metric, mode=mode, other=goes
            )


def _mode(given: object) -> str:
    if given is None:
        return "min"
    return given.value if isinstance(given, Const) and isinstance(given.value, str) else ""


def _receiver(node: ast.Call) -> str:
    return ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else "scheduler"


def _scope(analysis: Analysis, node: ast.AST) -> ast.AST:
    """Return the innermost function around a node, else the module."""
    around: ast.AST = tree_of(analysis, node)
    for function in walk(around):
        if type(function) in _FUNCTIONS and _is_in(node, function):
            around = function
    return around


def _is_in(node: ast.AST, around: ast.AST) -> bool:
    begin, end = around.lineno, around.end_lineno or around.lineno  # type: ignore[attr-defined]
    return begin <= node.lineno <= end and any(part is node for part in walk(around))  # type: ignore[attr-defined]


def _chosen(analysis: Analysis, node: ast.Call) -> bool:
    """Whether a condition around a call asks which scheduler it is."""
    tree = tree_of(analysis, node)
    conditions: list[ast.If | ast.IfExp] = [*walk_of(tree, ast.If), *walk_of(tree, ast.IfExp)]
    return any(_is_in(node, each) and "plateau" in ast.unparse(each.test).lower() for each in conditions)


def direction(analysis: Analysis, node: ast.expr, scope: ast.AST, depth: int = 3) -> str | None:
    """Return whether smaller (`min`) or larger (`max`) values of an expression are better, if its words agree on it."""
    match node:
        case ast.Name() | ast.Attribute() | ast.Subscript():
            return _named(analysis, node, scope, depth)
        case ast.UnaryOp(ast.USub(), operand) | ast.BinOp(ast.Constant(), ast.Sub() | ast.Div(), operand):
            return {"min": "max", "max": "min", None: None}[direction(analysis, operand, scope, depth)]
        case ast.BinOp(left, ast.Div(), _):
            return direction(analysis, left, scope, depth)
        case ast.Call(ast.Attribute(owner, name), []) if name in _SAME:
            return direction(analysis, owner, scope, depth)
        case ast.Call(func, [inner, *_]) if last_name(func) in _SAME:
            return direction(analysis, inner, scope, depth)
        case ast.Call(func):
            return _of_words(last_name(func))
        case _:
            return None


def _named(analysis: Analysis, node: ast.expr, scope: ast.AST, depth: int) -> str | None:
    own = _of_words(last_name(node))
    if own is None and isinstance(node, ast.Attribute) and node.attr in ("avg", "value", "global_avg", "val"):
        return direction(analysis, node.value, scope, depth)
    if own is None or not depth:
        return own
    given = [*definitions(analysis, node, scope), *_added(node, scope)]
    return own if all(_agrees(analysis, each, scope, own, depth - 1) for each in given) else None


def _agrees(analysis: Analysis, given: ast.expr, scope: ast.AST, own: str, depth: int) -> bool:
    """Whether what a name is given is not known to be something else than the name says."""
    known = direction(analysis, given, scope, depth)
    return known == own or (known is None and not _turns(given))


def _turns(node: ast.expr) -> bool:
    match node:
        case ast.UnaryOp(ast.USub(), _) | ast.BinOp(ast.Constant(), ast.Sub() | ast.Div(), _):
            return True
        case _:
            return False


def _added(name: ast.expr, scope: ast.AST) -> list[ast.expr]:
    """Return what is summed up under a name."""
    spelled = ast.unparse(name)
    return [
        node.value for node in walk(scope) if isinstance(node, ast.AugAssign) and ast.unparse(node.target) == spelled
    ]


def _of_words(name: str) -> str | None:
    words = set(re.findall(r"[a-z]+\d*", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()))
    falling, rising = bool(words & _FALLING), bool(words & _RISING)
    if falling is rising or words & {"neg", "negative", "inv", "minus"}:
        return None
    return "min" if falling else "max"
