"""Rows of a parameter that are kept from training by clearing their gradients, but not from weight decay: GL813."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.data import NamedTuple
from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.facts.cadence import definitions, last_name
from gradlint.static.flow.tree import Event
from gradlint.static.lowering.values import Const, Construction, Kind, Object
from gradlint.static.syntax.nodes import walk, words
from gradlint.wordings.construction import ROWS_DECAY, STOP_DECAY

_DECAYS = ("AdamW", "AdamW8bit", "PagedAdamW8bit")
"""Optimizers that decay weights unless they are told not to."""
_OF_ITSELF = regex(r"isnan|isinf|isfinite|\.grad\b|\bpad")
"""Words of an index that says which gradients are bad, not which rows are to stay; or of rows that are zero anyway."""
_COMMON = frozenset(
    ["self", "accelerator", "parameters", "named_parameters", "weight", "bias", "module", "data", "torch"]
)
"""Words that tell nothing about whose parameter it is."""


class _Masked(NamedTuple):
    """A statement that clears some rows of a gradient, the parameter whose gradient it is, and the rows that are named."""

    statement: ast.stmt
    parameter: ast.expr
    rows: ast.expr


@check
def decays_anyway(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL813: rows whose gradients are cleared by hand are changed by the weight decay of the step that follows."""
    if not analysis.says(".grad"):
        return
    masked = list(_masked(analysis))
    for optimizer in analysis.objects(Kind.OPTIMIZER) if masked else ():
        if not optimizer.calls or not all(_decays(analysis, optimizer, call) for call in optimizer.calls):
            continue
        for step in _steps(analysis, optimizer):
            for each in masked:
                if _stands_before(analysis, each, step) and _trains(analysis, optimizer, each):
                    marks = (("step", step.place), ("built", optimizer.place))
                    place, said = analysis.source.place(each.statement), ast.unparse(each.parameter)
                    what = ROWS_DECAY.format(subject=said, step=step.name)
                    yield compose("GL813", Side.STATIC, place, marks, what=what, remedy=STOP_DECAY)


def _steps(analysis: Analysis, optimizer: Object) -> Iterator[Event]:
    for found in analysis.events.values():
        for event in dict.fromkeys(found):
            if event.kind is EventKind.STEP and event.loops and optimizer.uid in (event.targets or ()):
                yield event


def _stands_before(analysis: Analysis, masked: _Masked, step: Event) -> bool:
    """Whether gradients are cleared before a step in its loop, where nobody puts the rows back."""
    loop = analysis.lowering.loop_nodes.get(step.loops[-1])
    if loop is None or masked.statement.lineno > step.place.row or not _holds(loop, masked.statement):
        return False
    return not _restored(loop, masked) and not _counts(analysis, step, masked.rows)


def _counts(analysis: Analysis, step: Event, rows: ast.expr) -> bool:
    """Whether the rows are others at each step: their index is what a loop around the step counts."""
    nodes = (analysis.lowering.loop_nodes.get(loop) for loop in step.loops)
    counted = {name for node in nodes if isinstance(node, ast.For) for name in words(node.target)}
    return bool(counted & words(rows))


# Weight decay ---------------------------------------------------------------------------------


def _decays(analysis: Analysis, optimizer: Object, call: Construction) -> bool:
    """Whether an optimizer certainly decays all that it is given."""
    if not optimizer.origin.startswith(("torch.optim.", "bitsandbytes.", "transformers.")):
        return False
    groups = call.expression(0, "params")
    if groups is None or any(_has_groups(node) for node in _sources(analysis, groups, call.scope)):
        return False
    given, written = call.named.get("weight_decay"), call.expression(99, "weight_decay")
    if written is None:
        of_torch = not optimizer.origin.startswith("transformers.")
        return of_torch and optimizer.origin.rpartition(".")[2] in _DECAYS and "**" not in call.named
    default = given.value if isinstance(given, Const) else _default(analysis, last_name(written))
    return isinstance(default, (int, float)) and default > 0


def _sources(analysis: Analysis, node: ast.expr, scope: ast.AST | None, depth: int = 2) -> Iterator[ast.AST]:
    """Yield what an expression is made of, through names."""
    for part in walk(node):
        yield part
        if isinstance(part, ast.Name) and depth:
            for each in definitions(analysis, part, scope):
                yield from _sources(analysis, each, scope, depth - 1)


def _has_groups(node: ast.AST) -> bool:
    return isinstance(node, ast.Dict) or (isinstance(node, ast.Constant) and node.value == "weight_decay")


def _default(analysis: Analysis, word: str) -> object:
    """Return the default of the command line's argument of this name."""
    for node in analysis.nodes(ast.Call):
        match node:
            case ast.Call(ast.Attribute(attr="add_argument"), [ast.Constant(str(flag)), *_], keywords):
                if word and flag.lstrip("-").replace("-", "_") == word:
                    told = [keyword.value for keyword in keywords if keyword.arg == "default"]
                    return told[0].value if told and isinstance(told[0], ast.Constant) else None
    return None


# Masks ----------------------------------------------------------------------------------------


def _masked(analysis: Analysis) -> Iterator[_Masked]:
    for node in analysis.nodes(ast.Assign, ast.Expr):
        match node:
            case ast.Assign(targets=[ast.Subscript(gradient, index)]) if _is_zero(node.value):
                found = _owner(analysis, gradient, node)
            case ast.Expr(value=ast.Call(func=ast.Attribute(attr="zero_", value=ast.Subscript(gradient, index)))):
                found = _owner(analysis, gradient, node)
            case _:
                continue
        if found is not None and not _is_bad(analysis, index, gradient):
            yield _Masked(node, found, index)


def _is_zero(node: ast.expr) -> bool:
    match node:
        case ast.Constant(0 | 0.0) | ast.Call(
            ast.Name("zeros_like") | ast.Attribute(attr="zeros_like" | "zero_" | "zeros")
        ):
            return True
        case ast.Call(ast.Attribute(attr="fill_"), [ast.Constant(0 | 0.0)]):
            return True
        case _:
            return False


def _owner(analysis: Analysis, gradient: ast.expr, statement: ast.stmt) -> ast.expr | None:
    """Return the parameter whose gradient an expression is, by whatever name."""
    match gradient:
        case ast.Attribute(inner, "data"):
            return _owner(analysis, inner, statement)
        case ast.Attribute(parameter, "grad"):
            return parameter
        case ast.Name():
            around = [each for each in analysis.functions if _holds(each, statement)]
            given = definitions(analysis, gradient, around[-1] if around else None)
            owners = [each.value for each in given if isinstance(each, ast.Attribute) and each.attr == "grad"]
            return owners[0] if owners and len(owners) == len(given) else None
        case _:
            return None


def _holds(scope: ast.AST, statement: ast.stmt) -> bool:
    return any(part is statement for part in walk(scope))


def _is_bad(analysis: Analysis, index: ast.expr, gradient: ast.expr) -> bool:
    """Whether an index picks gradients by what they are, a single row of zeros, or everything."""
    told = [
        ast.unparse(index),
        *(
            ast.unparse(each)
            for part in walk(index)
            if isinstance(part, ast.Name)
            for each in definitions(analysis, part, None)
        ),
    ]
    if any(_OF_ITSELF.search(text) or ast.unparse(gradient) in text for text in told):
        return True
    first = index.elts[0] if isinstance(index, ast.Tuple) and index.elts else index
    match first:
        case ast.Constant() | ast.Slice(lower=None, upper=None):
            return True
        case _:
            return False


def _trains(analysis: Analysis, optimizer: Object, masked: _Masked) -> bool:
    """Whether an optimizer is given the parameter, as far as words tell."""
    words = {last_name(part) for part in walk(masked.parameter)} - _COMMON - {""}
    for node in analysis.nodes(ast.For):
        bound = {part.id for part in walk(node.target) if isinstance(part, ast.Name)}
        if words & bound and _holds(node, masked.statement):
            words |= {last_name(part) for part in walk(node.iter)} - _COMMON - {""}
    given = {
        last_name(part)
        for call in optimizer.calls
        for root in [call.expression(0, "params")]
        for part in (_sources(analysis, root, call.scope) if root is not None else ())
    }
    return bool(words & given)


def _restored(loop: ast.AST, masked: _Masked) -> bool:
    """Whether a loop writes to a parameter of this name: what was decayed may be put back."""
    name = last_name(masked.parameter)
    for node in walk(loop):
        match node:
            case ast.Assign([ast.Subscript(target)]) | ast.Expr(
                ast.Call(ast.Attribute(target, "copy_" | "mul_" | "index_copy_"))
            ):
                while isinstance(target, ast.Subscript) or (
                    isinstance(target, ast.Attribute) and target.attr == "data"
                ):
                    target = target.value
                if last_name(target) == name:
                    return True
            case _:
                continue
    return False
