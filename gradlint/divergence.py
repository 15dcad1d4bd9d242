"""Replicas that have drifted apart: GL710, judged from what each rank wrote down, without a word between them.

A difference counts only if it never goes away again: whoever averages parameters now and then means it so.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.records import Record, Replica, Sums

_TOLERANCE = 1e-7  # of a parameter's magnitude: the order of summation, on unequal devices
_BYPASSED = (
    "call the wrapped model itself, not its `.module`, in training, wrap a model once, "
    "and change gradients and parameters on every rank alike"
)
_UNSYNCED = "leave `no_sync()` before the last forward and backward pass in front of each step"
_UNEVEN = "let every rank take the same steps, or run the loop under `torch.distributed.algorithms.Join`"


def divergences(records: Iterable[Record]) -> Iterator[Diagnostic]:
    """Yield a finding for each model whose replicas differ, or have not taken the same number of steps."""
    models: defaultdict[tuple[tuple[int, ...], int], list[tuple[Record, Replica]]] = defaultdict(list)
    for record in records:
        for replica in record.replicas:
            models[replica.group, replica.index].append((record, replica))
    for pairs in models.values():
        pairs.sort(key=lambda pair: pair[1].rank)
        replicas = [replica for _, replica in pairs]
        if len({replica.rank for replica in replicas}) < 2 or any(replica.joined for replica in replicas):
            continue
        drift = _drift(replicas)
        if drift is not None:
            yield drift
        elif all(record.ended for record, _ in pairs) and len({replica.steps for replica in replicas}) > 1:
            yield _uneven(replicas)


def _drift(replicas: Sequence[Replica]) -> Diagnostic | None:
    """Return the finding for the first step after which parameters differ, if they differ ever after."""
    common = set.intersection(*({each.step for each in replica.sums} for replica in replicas))
    differing = {step: _differing(replicas, step) for step in sorted(common)}
    first = next((step for step, name in differing.items() if name), None)
    if first is None or not all(name for step, name in differing.items() if step >= first):
        return None
    what = f"its parameters are not the same on all ranks after step {first} (`{differing[first]}` is the first)"
    if all(replica.unsynced for replica in replicas):
        why = "; every backward pass in front of the step ran under `no_sync()`"
        return _finding(replicas, what + why, _UNSYNCED, first)
    return _finding(replicas, what, _BYPASSED, first)


def _differing(replicas: Sequence[Replica], step: int) -> str:
    """Return the name of the first parameter that differs after a step, "" if none does."""
    every = [_sums(replica, step).values for replica in replicas]
    for position, name in enumerate(replicas[0].names):
        values = [each[position] for each in every]
        scale = _TOLERANCE * max(abs(magnitude) for _, magnitude in values)
        if any(max(column) - min(column) > scale for column in zip(*values, strict=True)):
            return name
    return ""


def _sums(replica: Replica, step: int) -> Sums:
    return next(each for each in replica.sums if each.step == step)


def _uneven(replicas: Sequence[Replica]) -> Diagnostic:
    steps = ", ".join(f"rank {replica.rank} has taken {replica.steps}" for replica in replicas[:4])
    return _finding(replicas, f"the ranks have not taken the same number of steps: {steps}", _UNEVEN, 0)


def _finding(replicas: Sequence[Replica], what: str, remedy: str, step: int) -> Diagnostic:
    model = replicas[0]
    place = _sums(model, step).place if step else model.place
    found = compose("GL710", Side.RUNTIME, place, subject=model.name, what=what, remedy=remedy)
    ranks = tuple(sorted({replica.rank for replica in replicas}))
    return dataclasses.replace(found, count=1, iteration=step, ranks=ranks)
