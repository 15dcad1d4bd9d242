"""Steps that change nothing: gradients are there and the rate is not zero, but every value stays as it was (GL120).

Values are compared in the first steps of an optimizer and in routine checks. Knows optimizers; must not know torch.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from gradlint.diagnostics import Location
from gradlint.runtime.gradients import values_of
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.observers import Observer
from gradlint.runtime.optimizers import WatchedOptimizer, is_lbfgs
from gradlint.runtime.sites import name_of

_IN_A_ROW = 3
_LOOKS = 6
_TENSORS = 8
_VALUES = 65_536
_ROUNDING = 1e-7  # a loss that is constant by construction has gradients of this size and not of zero


@dataclass(slots=True)
class _Steps:
    """The steps of one optimizer: what some parameters were before the running one, and how many changed nothing."""

    before: list[tuple[Any, Any]] = field(default_factory=list)
    in_a_row: int = 0
    looks: int = 0


class Movement(Observer):
    """Compares parameters before and after a step, until one has moved."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._steps: weakref.WeakKeyDictionary[WatchedOptimizer, _Steps] = weakref.WeakKeyDictionary()

    def before_step(self, watched: WatchedOptimizer, place: Location, frame: FrameType | None) -> None:
        """Keep the values of the parameters that this step must change, as long as none has been seen to move."""
        steps = self._steps.setdefault(watched, _Steps())
        steps.before = []
        if steps.looks < _LOOKS and not is_lbfgs(watched.optimizer) and not _is_told_to_skip(watched.optimizer):
            steps.looks += 1
            steps.before = [
                (parameter, values_of(parameter).clone())
                for parameter in _movable(watched, steps.in_a_row == _IN_A_ROW - 1)
            ]

    def after_step(self, watched: WatchedOptimizer, place: Location, frame: FrameType | None) -> None:
        """Count a step that left all of them as they were; one that moved ends the looking."""
        steps = self._steps.get(watched)
        if steps is None or not steps.before:
            return
        before, steps.before = steps.before, []
        if any(not bool((values_of(parameter) == values).all()) for parameter, values in before):
            steps.looks = _LOOKS
            return
        steps.in_a_row += 1
        if steps.in_a_row >= _IN_A_ROW:
            steps.looks = _LOOKS
            watched.explained = True
            subject = name_of(watched.optimizer, frame)
            self._ledger.report("GL120", place, count=steps.in_a_row, iteration=watched.steps, subject=subject)


def _is_told_to_skip(optimizer: Any) -> bool:
    """Tell whether a scaler has found infinite gradients, and leaves it to a fused optimizer to skip the step."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found)


def _movable(watched: WatchedOptimizer, everything: bool) -> list[Any]:
    """Return parameters that a step has to move: some small ones, or `everything`."""
    optimizer = watched.optimizer
    movable = list(_with_gradients(optimizer)) if optimizer is not None else []
    if everything:
        return movable
    small = [parameter for parameter in movable if parameter.numel() <= _VALUES]
    return small[:: max(1, -(-len(small) // _TENSORS))]


def _with_gradients(optimizer: Any) -> Iterator[Any]:
    """Yield the parameters with values here and a gradient above rounding, in groups with a rate that is not zero."""
    for group in optimizer.param_groups:
        rate = group.get("lr", 0.0)
        if isinstance(rate, float) and rate > 0:
            for parameter in group["params"]:
                stored = values_of(parameter).untyped_storage().size() > 0
                if stored and parameter.grad is not None and _is_felt(parameter.grad):
                    yield parameter


def _is_felt(grad: Any) -> bool:
    """Tell whether a gradient is more than rounding left over; it waits for the device."""
    return bool((values_of(grad).abs() > _ROUNDING).any())
