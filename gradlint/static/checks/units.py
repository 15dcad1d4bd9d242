"""Schedules whose length is not counted in what moves them on: GL221."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.cadence import is_loader, last_name
from gradlint.static.checks import check
from gradlint.static.checks.accelerate import ACCELERATORS
from gradlint.static.counts import Count, Counts, Factor, lengths
from gradlint.static.nodes import walk
from gradlint.static.values import Const, Construction, Kind, Object

_LENGTHS = {
    "CosineAnnealingLR": ((1, "T_max"),),
    "OneCycleLR": ((2, "total_steps"),),
    "PolynomialLR": ((1, "total_iters"),),
    "LinearLR": ((3, "total_iters"),),
    "get_scheduler": ((2, "num_warmup_steps"), (3, "num_training_steps")),
}
_OF_OTHERS = ((1, "num_warmup_steps"), (2, "num_training_steps"))
"""Where the schedules of transformers and diffusers have their lengths."""


def _written(scheduler: Object, call: Construction) -> Iterator[ast.expr]:
    """Yield the lengths that a schedule is built with, as they are written."""
    for position, name in _LENGTHS.get(scheduler.origin.rpartition(".")[2], _OF_OTHERS):
        written = call.expression(position, name)
        if written is not None:
            yield written


@check
def processes(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL221: a schedule that Accelerate moves on once per process is as many times too long, or too short."""
    if not analysis.says("num_training_steps", "T_max", "total_steps", "total_iters") or not analysis.says("prepare"):
        return
    counts = Counts(analysis)
    for scheduler in analysis.objects(Kind.SCHEDULER):
        accelerator = analysis.lowering.objects.get(analysis.lowering.prepared.get(scheduler.uid, ()))
        if accelerator is None or not _splits(accelerator) or scheduler.uid not in analysis.stepped:
            continue
        told = {what for call in scheduler.calls for what in _unsplit(analysis, counts, scheduler, call)}
        for what, remedy in sorted(told)[:1]:
            yield compose("GL221", Side.STATIC, scheduler.place, subject=_class(scheduler), what=what, remedy=remedy)


def _class(scheduler: Object) -> str:
    return scheduler.origin.rpartition(".")[2]


def _splits(accelerator: Object) -> bool:
    """Whether an accelerator gives each process its own batches, and steps schedules once for each process."""
    own = ("split_batches", "step_scheduler_with_optimizer", "dataloader_config", "**", "*")
    return accelerator.origin in ACCELERATORS and not any(
        call.named.get(name, Const(None)) not in (Const(None),) for call in accelerator.calls for name in own
    )


def _unsplit(analysis: Analysis, counts: Counts, scheduler: Object, call: Construction) -> Iterator[tuple[str, str]]:
    for written in _written(scheduler, call):
        for count in counts.of(written, call.scope, call.callers):
            loaders = [factor for factor in lengths(count) if factor.node is not None and is_loader(analysis, factor.node)]
            times = sum(power for factor, power in count.powers if factor.word == "num_processes")
            if len(loaders) != 1:
                continue
            match _is_split(analysis, loaders[0]), times:
                case False, 1:
                    yield (
                        f"`{loaders[0].spelled}` is not split among the processes yet where its length is taken, and the length is "
                        "multiplied by their number: the schedule is as many times too long, and most of it is never used",
                        "divide the length of the loader by the number of processes first, or do not multiply",
                    )
                case True, 0:
                    yield (
                        f"`{loaders[0].spelled}` is already split among the processes where its length is taken, but a prepared "
                        "scheduler moves on once for each process: the schedule is over long before the training is",
                        "multiply the length by `num_processes`, or take it before the loader is prepared",
                    )


def _is_split(analysis: Analysis, loader: Factor) -> bool | None:
    """Whether an accelerator has prepared a loader where its length is taken; None where that is not known."""
    assert loader.node is not None
    node, found = loader.node, list(_prepared(analysis, loader))
    if any(row in loader.given for row in found):
        return True if loader.given == tuple(row for row in found if row in loader.given) else None
    return False if any(row > node.lineno for row in found) else None


def _prepared(analysis: Analysis, loader: Factor) -> Iterator[int]:
    """Yield the rows in which an accelerator prepares a loader."""
    for node in analysis.nodes(ast.Assign):
        for call in walk(node.value):
            match call:
                case ast.Call(ast.Attribute(owner, name), args) if name.startswith("prepare"):
                    made = analysis.value(owner)
                    known = isinstance(made, Object) and made.origin in ACCELERATORS
                    if known and any(ast.unparse(arg) == loader.spelled for arg in args):
                        yield node.lineno
