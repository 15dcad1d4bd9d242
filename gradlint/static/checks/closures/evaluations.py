"""What a closure does besides computing its loss, and what LBFGS cannot be used with: GL408, GL409 and GL411."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.facts.cadence import over_batches, tree_of
from gradlint.static.flow.subjects import MANY_EVALUATIONS
from gradlint.static.flow.tree import events
from gradlint.static.lowering.actions import Step
from gradlint.static.lowering.values import Construction, Items, Kind
from gradlint.static.syntax.nodes import children, walk
from gradlint.static.syntax.questions import FunctionNode

# Side effects ---------------------------------------------------------------------------------


@check
def side_effects(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL411: a closure that steps, or that takes another batch at each evaluation."""
    for step in analysis.lowering.steps:
        if step.closure is None or step.body is None:
            continue
        many = step.optimizer.origin in MANY_EVALUATIONS
        for event in events(step.body):
            itself = event.kind is EventKind.STEP and step.optimizer.uid in (event.targets or ())
            # LBFGS cannot be stepped without a closure: that is another rule's.
            if (itself and not many) or (event.kind is EventKind.SCHEDULE and many):
                what = f"calls `{event.name}.step()`"
                yield compose("GL411", Side.STATIC, event.place, subject=step.spelled, what=what, often=_often(many))
        for node in _drawn(step.closure.node) if many else ():
            what = f"takes the next batch with `{ast.unparse(node)}`"
            place = analysis.source.place(node)
            yield compose("GL411", Side.STATIC, place, subject=step.spelled, what=what, often=_often(many))


def _often(many: bool) -> str:
    return "LBFGS evaluates it many times per step" if many else "the optimizer steps after it anyway"


def _drawn(closure: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls of `next` on an iterator that outlives the closure."""
    own = {node.id for node in walk(closure) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in walk(closure):
        match node:
            case ast.Call(ast.Name("next"), [ast.Name(name), *_]) if name not in own:
                yield node
            case _:
                continue


# What LBFGS cannot do -------------------------------------------------------------------------


@check
def unsupported(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL409: LBFGS with groups of parameters, or under a gradient scaler."""
    solvers = [made for made in analysis.objects(Kind.OPTIMIZER) if made.origin in MANY_EVALUATIONS]
    for solver in solvers:
        for call in solver.calls:
            if _groups(call) > 1:
                what = "takes no groups of parameters: torch raises ValueError"
                yield compose("GL409", Side.STATIC, analysis.source.place(call.node), what=what, way=_PLAIN)
    for found in analysis.events.values() if solvers else ():
        for event in found:
            mine = event.kind is EventKind.STEP and any(solver.uid in (event.targets or ()) for solver in solvers)
            if mine and any(_scales(analysis, uid) for uid in event.scalers):
                what = "cannot be stepped by a gradient scaler: its closure would run backward on an unscaled loss"
                yield compose("GL409", Side.STATIC, event.place, what=what, way=_UNSCALED)


_PLAIN = "give it one list of parameters"
_UNSCALED = "train in full precision, or in bfloat16 without a scaler: `optimizer.step(closure)`"


def _groups(call: Construction) -> int:
    match call.argument(0, "params"):
        case Items(elements, None):
            return sum(isinstance(each, Items) and each.keys is not None and "params" in each.keys for each in elements)
        case _:
            return 0


def _scales(analysis: Analysis, scaler: tuple[str, ...]) -> bool:
    """Whether a gradient scaler is certainly switched on."""
    made = analysis.lowering.objects.get(scaler)
    return made is not None and len(made.calls) == 1 and made.calls[0].argument(99, "enabled") is None


# Batches that no closure sees -----------------------------------------------------------------


@check
def late_binding(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL408: a loop over batches that steps with a closure from outside, which never sees them."""
    for root in analysis.roots:
        for event in dict.fromkeys(root.of(EventKind.STEP)):
            if "closure" not in event.roles or not event.loops:
                continue
            loop = analysis.lowering.loop_nodes.get(event.loops[-1])
            if not isinstance(loop, ast.For) or not over_batches(analysis, event.loops[-1]):
                continue
            step = next((each for each in analysis.lowering.steps if _stands_at(analysis, each, event.place)), None)
            if step is not None and step.closure is not None and _outside(step.closure.node, loop):
                yield from _unseen(analysis, step, loop)


def _stands_at(analysis: Analysis, step: Step, place: object) -> bool:
    return analysis.source.place(step.node) == place


def _outside(closure: ast.AST, loop: ast.For) -> bool:
    return not any(node is closure for node in walk(loop))


def _unseen(analysis: Analysis, step: Step, loop: ast.For) -> Iterator[Diagnostic]:
    given = {node.id for node in walk(loop.target) if isinstance(node, ast.Name) and not node.id.startswith("_")}
    if given and not given & set(_read(tree_of(analysis, loop), given, loop)):
        place, batch = analysis.source.place(step.node), ", ".join(sorted(given))
        assert step.closure is not None
        marks = (("closure", analysis.source.place(step.closure.node)),)
        yield compose("GL408", Side.STATIC, place, marks, subject=step.spelled, batch=batch)


def _read(tree: ast.Module, names: set[str], loop: ast.For) -> Iterator[str]:
    """Yield those of the names that are read where they can be the loop's: in its function, or anywhere for the module's."""
    functions = [node for node in walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    around = [each for each in functions if any(node is loop for node in walk(each))]
    todo: list[ast.AST] = [around[-1] if around else tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names:
            yield node.id
        own = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and names <= _parameters(node)
        if not own:
            todo.extend(children(node))


def _parameters(function: FunctionNode) -> set[str]:
    args = function.args
    return {arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs)}
