"""Schedules whose length does not know how many processes there are: GL221."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.facts.cadence import is_loader, last_name
from gradlint.static.facts.counts import Count, Counts, Factor, scope_of
from gradlint.static.facts.prepared import Preparation, preparations, splits, splits_batches
from gradlint.static.facts.schedules import class_of, lengths_of
from gradlint.static.lowering.values import Construction, Kind, Object

_STEPS = regex(r"steps|updates|iters|iterations")
_LONG = "with several of them the schedule is as many times too long, and most of it is never used"
_SHORT = "with several of them the schedule is over long before the training is"
_WHOLE = (
    "with `split_batches` each process makes as many steps as `{}` has batches, and the length is multiplied by the number of "
    f"processes: {_LONG}"
)
_WRONG: dict[tuple[str, bool | None, int], tuple[str, str]] = {
    ("process", False, 1): (
        "`{}` is not split among the processes yet where its length is taken, and that is multiplied by the number of processes: "
        + _LONG,
        "divide the length of the loader by the number of processes, too, or do not multiply",
    ),
    ("process", True, 0): (
        (
            "`{}` is already split among the processes where its length is taken, but a prepared scheduler moves on once for each "
            f"process: {_SHORT}"
        ),
        "multiply the length by `num_processes`, or take it before the loader is prepared",
    ),
    ("itself", False, 0): (
        (
            "`{}` is not split among the processes yet where its length is taken, and this scheduler is not prepared, so that it moves "
            f"on once for a part of the batches in each: {_LONG}"
        ),
        "prepare the scheduler, too, or take the length after the loader is prepared",
    ),
    ("itself", True, 1): (
        (
            "`{}` is already split among the processes where its length is taken, and that is multiplied by the number of processes, but "
            f"this scheduler is not prepared and moves on once in each: {_LONG}"
        ),
        "prepare the scheduler, too, or do not multiply",
    ),
    **dict.fromkeys([("split", True, 1), ("split", False, 1), ("split", None, 1)], (_WHOLE, "do not multiply")),
}
"""What is wrong, by how the schedule moves on, whether the loader is split yet, and the power of the number of processes."""
_NOT_THE_LOOP = (
    "`{}` is what the loop ran over before Accelerate prepared it: with several processes each has a part of its batches, and makes "
    "that many times fewer steps than are counted here"
)


@check
def processes(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL221: a count of steps is as many times too long or too short as there are processes."""
    if not analysis.says(".prepare") or not analysis.says("len("):
        return
    counts, prepared = analysis.kept(Counts), list(preparations(analysis))
    for scheduler in analysis.objects(Kind.SCHEDULER):
        way = _way(analysis, scheduler)
        if way is None or scheduler.uid not in analysis.stepped:
            continue
        found = {
            each for call in scheduler.calls for each in _lengths(analysis, counts, prepared, scheduler, call, way)
        }
        for what, remedy in sorted(found)[:1]:
            yield compose("GL221", Side.STATIC, scheduler.place, what=what, remedy=remedy)
    yield from _counted_before(analysis, counts, prepared)


def _way(analysis: Analysis, scheduler: Object) -> str | None:
    """Return how a schedule moves on: by "itself", once for each "process", or once for batches that are "split"."""
    lowering = analysis.lowering
    if scheduler.uid in lowering.prepared:
        accelerator = lowering.objects.get(lowering.prepared[scheduler.uid])
        if accelerator is not None and splits_batches(accelerator):
            return "split"
        return "process" if accelerator is not None and splits(accelerator) else None
    owners = {lowering.prepared.get(uid) for uid in scheduler.of or ()}
    accelerators = [lowering.objects.get(uid) for uid in owners if uid is not None]
    own = len(accelerators) == len(owners) == 1 and scheduler.uid not in lowering.escaped
    return "itself" if own and accelerators[0] is not None and splits(accelerators[0]) else None


def _lengths(
    analysis: Analysis,
    counts: Counts,
    prepared: list[Preparation],
    scheduler: Object,
    call: Construction,
    way: str,
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the lengths of a schedule, and what to do."""
    here = [each for each in prepared if each.scope is call.scope]
    for written in lengths_of(class_of(scheduler), call):
        for count in counts.of(written, call.scope, call.callers):
            loader = _loader(analysis, count)
            told = _WRONG.get((way, _is_split(loader, here), _processes(count))) if loader is not None else None
            if loader is not None and told is not None:
                yield told[0].format(loader.spelled), told[1]


def _counted_before(analysis: Analysis, counts: Counts, prepared: list[Preparation]) -> Iterator[Diagnostic]:
    """Steps are counted by a loader that was prepared under another name."""
    for node in analysis.nodes(ast.Assign) if prepared else ():
        if not _STEPS.search(last_name(node.targets[0])) or not isinstance(node.value, (ast.BinOp, ast.Call)):
            continue
        scope = scope_of(analysis, node)
        before = [each for each in prepared if each.scope is scope and each.row < node.lineno]
        for count in counts.of(node.value, scope) if before else ():
            loader = _loader(analysis, count)
            left = loader is not None and any(
                loader.spelled in each.given - each.taken and loader.row > each.row for each in before
            )
            if loader is not None and left and not _processes(count):
                place, what = analysis.source.place(node.value), _NOT_THE_LOOP.format(loader.spelled)
                remedy = "take the length of what `prepare` has returned"
                yield compose("GL221", Side.STATIC, place, what=what, remedy=remedy)


def _loader(analysis: Analysis, count: Count) -> Factor | None:
    """Return the one loader whose length a count is multiplied by."""
    found = [
        each for each in count.above if each.is_length and each.node is not None and is_loader(analysis, each.node)
    ]
    return found[0] if len(found) == 1 else None


def _processes(count: Count) -> int:
    return sum(power for factor, power in count.powers if factor.word in ("num_processes", "world_size"))


def _is_split(loader: Factor, prepared: list[Preparation]) -> bool | None:
    """Whether an accelerator has prepared a loader where its length is taken; None where that is not known."""
    given = [each.row for each in prepared if loader.spelled in each.taken & each.given]
    if any(row in loader.given for row in given):
        return True if all(row in given for row in loader.given) else None
    later = any(each.row > loader.row and loader.spelled in each.given for each in prepared)
    return False if later else None
