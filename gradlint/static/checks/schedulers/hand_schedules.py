"""Learning rates computed by hand from a counter and a length that do not count the same: GL222."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from gradlint.data import NamedTuple
from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.facts.cadence import last_name, turns
from gradlint.static.facts.cadence import spelled as told
from gradlint.static.facts.counts import Count, Counts
from gradlint.static.facts.windows import ends
from gradlint.static.flow.tree import Atom, Event
from gradlint.static.lowering.values import Function
from gradlint.static.syntax.nodes import blocks, spelled, walk

_COUNTERS = (ast.Name, ast.Attribute, ast.Subscript)


class _Progress(NamedTuple):
    """A counter measured by a length: `step < warmup`, `step / warmup`; where, and whether it is a quotient."""

    counter: str
    length: ast.expr
    node: ast.expr
    is_quotient: bool


@check
def mixed_counts(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL222: of a schedule that is written out, the counter counts updates and the length batches."""
    if not analysis.lowering.counts or not analysis.says('"lr"', "'lr'"):
        return
    for step, end in ends(analysis):
        loop, bound = analysis.lowering.loop_nodes[step.loops[-1]], turns(analysis, step.loops[-1])
        frame = analysis.lowering.frames.get(step.frame)
        units = _window(analysis, loop, end)
        if bound is None or frame is None or not isinstance(loop, ast.For) or not units:
            continue
        counts = Counts(analysis, units)
        scope, callers = frame.node, frame.callers
        counters = set(_updates(loop, step))
        whole = counts.of(bound[1], scope, callers)
        for each in _progress(analysis, _rates(loop)):
            lengths = counts.of(each.length, scope, callers) if each.counter in counters else ()
            pairs = [(length, all_of) for length in lengths for all_of in whole]
            if pairs and all(_counts_turns(length, all_of, each.is_quotient) for length, all_of in pairs):
                said = ast.unparse(each.length)
                what = (
                    f"`{each.counter}` counts updates, one in several turns of the loop, but `{said}` counts turns: "
                    "the learning rate goes through its schedule as many times too slowly"
                )
                remedy = f"divide `{said}` by the number of batches that one update takes"
                marks = (("stepped", step.place),)
                yield compose("GL222", Side.STATIC, analysis.source.place(each.node), marks, what=what, remedy=remedy)
                break


def _window(analysis: Analysis, loop: ast.AST, end: Atom) -> frozenset[str]:
    """Return the last words of what the length of a window is called (none: it is a number without a name)."""
    length = end.cycle.length if end.cycle is not None else ""
    moduli = [node.right for node in walk(loop) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod)]
    return frozenset(last_name(each) for each in moduli if length and told(analysis.value(each)) == length) - {""}


def _counts_turns(length: Count, whole: Count, is_quotient: bool) -> bool:
    """Whether a length is some of the turns of a loop, or all: the same quotient, but for factors that it lacks."""
    if length == whole:
        return is_quotient and bool(length.powers)
    missing = length / whole
    measured = bool(length.below) or any(factor.is_length for factor in length.above)
    return measured and not missing.above and missing.below <= whole.above


def _updates(loop: ast.For, step: Event) -> Iterator[str]:
    """Yield the counters that a loop raises beside a step, and nowhere else."""
    raised = [node for node in walk(loop) if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add)]
    branches = (node for node in walk(loop) if isinstance(node, ast.If))
    beside = [node for each in branches for block in blocks(each) if _holds(block, step.place.row) for node in block]
    for node in raised:
        name = spelled(node.target)
        alone = [spelled(each.target) for each in raised].count(name) == 1 and not _given(loop, name)
        if node in beside and isinstance(node.value, ast.Constant) and alone:
            yield name


def _holds(block: list[ast.stmt], row: int) -> bool:
    return any(statement.lineno <= row <= (statement.end_lineno or 0) for statement in block)


def _given(loop: ast.AST, name: str) -> bool:
    return any(
        isinstance(node, ast.Assign) and any(spelled(target) == name for target in node.targets) for node in walk(loop)
    )


# Rates that are written by hand ---------------------------------------------------------------


def _rates(loop: ast.For) -> list[ast.expr]:
    """Return the expressions in a loop from which a learning rate is computed that is written by hand, and their conditions."""
    assigned = [node for node in walk(loop) if isinstance(node, ast.Assign)]
    found = [node for node in assigned if any(_is_rate(target) for target in node.targets)]
    for node in found:  # It grows.
        read = {spelled(part) for part in walk(node.value) if isinstance(part, ast.Name)}
        found += [
            each for each in assigned if each not in found and any(spelled(target) in read for target in each.targets)
        ]
    rows = {node.lineno for node in found}
    tests = [
        node.test
        for node in walk(loop)
        if isinstance(node, ast.If) and any(node.lineno <= row <= (node.end_lineno or 0) for row in rows)
    ]
    return [*(node.value for node in found), *tests]


def _is_rate(target: ast.expr) -> bool:
    return isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant) and target.slice.value == "lr"


def _progress(analysis: Analysis, roots: list[ast.expr]) -> Iterator[_Progress]:
    for root in roots:
        for node in walk(root):
            yield from _measured(node)
            if isinstance(node, ast.Call):
                yield from _inside(analysis, node)


def _measured(node: ast.AST) -> Iterator[_Progress]:
    match node:
        case ast.Compare(left, [ast.Lt() | ast.LtE() | ast.Gt() | ast.GtE()], [right]) if isinstance(left, _COUNTERS):
            yield _Progress(spelled(left), right, node, False)
        case ast.BinOp(left, ast.Div(), right):
            for part in _factors(left):
                if isinstance(part, _COUNTERS):
                    yield _Progress(spelled(part), right, node, True)


def _factors(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.BinOp(left, ast.Mult(), right):
            yield from (*_factors(left), *_factors(right))
        case ast.Call(ast.Name("float" | "int"), [inner]) | ast.BinOp(inner, ast.Add(), ast.Constant()):
            yield inner
        case _:
            yield node


def _inside(analysis: Analysis, call: ast.Call) -> Iterator[_Progress]:
    """Yield what a function of the file makes of the counter and the length that it is given."""
    match analysis.value(call.func):
        case Function(ast.FunctionDef() as function, receiver=None, args=()):
            given = _arguments(function, call)
        case _:
            return
    for node in walk(function):
        for each in _measured(node):
            counter, length = given(each.counter), given(spelled(each.length))
            if counter is not None and length is not None and isinstance(counter, _COUNTERS):
                yield _Progress(spelled(counter), length, call, each.is_quotient)


def _arguments(function: ast.FunctionDef, call: ast.Call) -> Callable[[str], ast.expr | None]:
    names = [arg.arg for arg in (*function.args.posonlyargs, *function.args.args)]
    plain = not any(isinstance(arg, ast.Starred) for arg in call.args)
    known = dict(zip(names, call.args, strict=False)) if plain else {}
    known |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None}
    return known.get
