"""Numbers of steps that are computed from lengths in the wrong way: GL222."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.facts.cadence import last_name
from gradlint.static.facts.counts import Count, Counts, Factor, scope_of
from gradlint.static.syntax.nodes import spelled, walk

_STEP_WORDS = ("steps", "iters", "iterations", "updates", "T_max", "t_total")
_STEPS = regex(r"(^|_)(steps|iters|iterations|updates)$|^T_max$|^t_total$")
_TOTAL = regex(r"(^|_)(total|max|train|training)_|^num_(training|train|total)|^T_max$|^t_total$")
_EPOCHS = regex(r"(^|_)epochs$")


@check
def divided_amiss(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL222: a number of steps is divided by what has been divided by already, or by what it grows with."""
    if not analysis.says("len("):
        return
    counts, wrong = analysis.kept(Counts), set[tuple[str, ast.AST | None]]()
    for name, value, scope in _step_counts(analysis):
        if any((last_name(part), scope) in wrong for part in walk(value)):
            # What is computed from a wrong number is no mistake of its own.
            continue
        told = [
            _batches_again(analysis, counts, count, scope) or _by_epochs(name, count) or _twice(count)
            for count in counts.of(value, scope)
        ]
        # One of several ways to get a number may be one that the others do not go together with.
        if told and told[0] is not None and None not in told:
            what, remedy = told[0]
            place = analysis.source.place(value)
            yield compose("GL222", Side.STATIC, place, what=what.format(name), remedy=remedy)
            wrong.add((name, scope))


def _step_counts(analysis: Analysis) -> Iterator[tuple[str, ast.expr, ast.AST | None]]:
    """Yield what is computed and called a number of steps, with the names and the functions in which they stand."""
    for name, value in _named(analysis) if analysis.says(*_STEP_WORDS) else ():
        if name.endswith(_STEP_WORDS) and _STEPS.search(name) and _is_computed(value):
            yield name, value, scope_of(analysis, value)


def _named(analysis: Analysis) -> Iterator[tuple[str, ast.expr]]:
    """Yield what gets a name: of its own, or as an argument."""
    for assignment in analysis.nodes(ast.Assign):
        if isinstance(target := assignment.targets[0], (ast.Name, ast.Attribute)) and len(assignment.targets) == 1:
            yield last_name(target), assignment.value
    yield from ((keyword.arg or "", keyword.value) for keyword in analysis.nodes(ast.keyword))


def _is_computed(node: ast.expr) -> bool:
    """Whether an expression is a product or a quotient, as it is or rounded."""
    match node:
        case ast.BinOp():
            return True
        case ast.Call(_, args):
            return any(map(_is_computed, args))
        case _:
            return False


def _twice(count: Count) -> tuple[str, str] | None:
    """Return what is wrong where a number goes into a product with a length twice."""
    squares = [factor for factor, power in count.powers if power > 1 and factor.word]
    if len(squares) == 1 and any(factor.is_length for factor in count.above):
        said = squares[0].spelled
        return f"`{{}}` is multiplied by `{said}` twice: it is that many times too large", f"multiply by `{said}` once"
    return None


def _batches_again(analysis: Analysis, counts: Counts, count: Count, scope: ast.AST | None) -> tuple[str, str] | None:
    """Return what is wrong where the batches of a loader are divided by the size of a batch."""
    for loader in count.above:
        for size in _sizes(analysis, loader) if loader.is_length else ():
            made = counts.of(size, scope)
            for made_of in made if len(made) == 1 else ():
                if made_of.powers and made_of.above <= count.below and not made_of.below:
                    told = ast.unparse(size)
                    what = (
                        f"`len({loader.spelled})` is a number of batches already, and is divided by the size of a batch, `{told}`, "
                        "once more: `{}` is that many times too small"
                    )
                    return what, f"take the length of the data set, or do not divide by `{told}`"
    return None


def _sizes(analysis: Analysis, loader: Factor) -> Iterator[ast.expr]:
    """Yield what the call that makes a loader in sight, in one place, is told of the size of a batch."""
    made = [node for node in analysis.nodes(ast.Assign) if node.lineno in loader.given]
    match made:
        case [ast.Assign([target], value)] if spelled(target) == loader.spelled:
            call = value.body if isinstance(value, ast.IfExp) else value
        case _:
            return
    match call:
        case ast.Call(func, args, keywords) if "loader" in last_name(func).lower():
            yield from (keyword.value for keyword in keywords if keyword.arg == "batch_size")
            yield from (arg for arg in args[1:] if "batch_size" in last_name(arg))


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
