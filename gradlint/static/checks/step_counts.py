"""Numbers of steps that are computed from lengths in the wrong way: GL222."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.cadence import last_name
from gradlint.static.checks import check
from gradlint.static.counts import Count, Counts, Factor
from gradlint.static.nodes import own
from gradlint.static.reaching import spelled

_STEPS = re.compile(r"(^|_)(steps|iters|iterations|updates)$|^T_max$|^t_total$")
_TOTAL = re.compile(r"(^|_)(total|max|train|training)_|^num_(training|train|total)|^T_max$|^t_total$")
_EPOCHS = re.compile(r"(^|_)epochs$")


@check
def divided_amiss(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL222: a number of steps is divided by what has been divided by already, or by what it grows with."""
    if not analysis.says("len("):
        return
    counts = Counts(analysis)
    for name, value, scope in _step_counts(analysis):
        for count in counts.of(value, scope):
            told = _batches_again(analysis, counts, count, scope) or _by_epochs(name, count)
            if told is not None:
                what, remedy = told
                place = analysis.source.place(value)
                yield compose("GL222", Side.STATIC, place, what=what.format(name), remedy=remedy)
                break


def _step_counts(analysis: Analysis) -> Iterator[tuple[str, ast.expr, ast.AST | None]]:
    """Yield quotients that are called numbers of steps, with their names and the functions in which they stand."""
    for scope in (None, *analysis.functions):
        for node in own(scope or analysis.tree):
            match node:
                case ast.Assign([ast.Name() | ast.Attribute() as target], value):
                    given = [(last_name(target), value)]
                case ast.Call(keywords=keywords):
                    given = [(keyword.arg or "", keyword.value) for keyword in keywords]
                case _:
                    continue
            for name, value in given:
                if _STEPS.search(name) and _divides(value):
                    yield name, value, scope


def _divides(node: ast.expr) -> bool:
    """Whether an expression is a quotient somewhere on its way up."""
    match node:
        case ast.BinOp(_, ast.Div() | ast.FloorDiv(), _):
            return True
        case ast.BinOp(left, _, right):
            return _divides(left) or _divides(right)
        case ast.Call(_, args):
            return any(map(_divides, args))
        case _:
            return False


def _batches_again(analysis: Analysis, counts: Counts, count: Count, scope: ast.AST | None) -> tuple[str, str] | None:
    """Return what is wrong where the batches of a loader are divided by the size of a batch."""
    for loader in count.above:
        size = _batch_size(analysis, loader) if loader.is_length else None
        for made_of in counts.of(size, scope) if size is not None else ():
            if made_of.powers and made_of.above <= count.below and not made_of.below:
                told = ast.unparse(size) if size is not None else ""
                what = (
                    f"`len({loader.spelled})` is a number of batches already, and is divided by the size of a batch, `{told}`, "
                    "once more: `{}` is that many times too small"
                )
                return what, f"take the length of the data set, or do not divide by `{told}`"
    return None


def _batch_size(analysis: Analysis, loader: Factor) -> ast.expr | None:
    """Return the size of the batches of a loader that is built in sight, in one place."""
    made = [node for node in analysis.nodes(ast.Assign) if node.lineno in loader.given]
    match made:
        case [ast.Assign([target], ast.Call(func, args, keywords))] if (
            last_name(func) == "DataLoader" and spelled(target) == loader.spelled
        ):
            sized = next((keyword.value for keyword in keywords if keyword.arg == "batch_size"), None)
            return sized or (args[1] if len(args) > 1 else None)
        case _:
            return None


def _by_epochs(name: str, count: Count) -> tuple[str, str] | None:
    """Return what is wrong where the steps of all epochs are divided by the number of epochs."""
    epochs = [factor for factor in count.below if _EPOCHS.search(factor.word) and "per" not in factor.word]
    if epochs and _TOTAL.search(name) and any(factor.is_length for factor in count.above):
        what = (
            f"`{{}}` is divided by the number of epochs, `{epochs[0].spelled}`: the more epochs there are, the fewer steps "
            "are counted"
        )
        return what, f"multiply by `{epochs[0].spelled}`"
    return None
