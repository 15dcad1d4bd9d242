"""Steps that change nothing: gradients are there and the rate is not zero, but every value stays as it was (GL120).

Values are compared in the first steps of an optimizer; on a device, the answer is heard at a later step. Knows optimizers; must not
know how torch is hooked.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from gradlint.diagnostics import Location
from gradlint.runtime.answers import Answer, has_values, is_waited_for, on_one_device
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


@dataclass(frozen=True, slots=True)
class _Before:
    """Parameters of one device as they were before a step, how large their gradients are, and whether a scaler lets it be skipped."""

    parameters: list[Tensor]
    values: list[Tensor]
    gradients: Answer
    skips: Answer

    def after(self) -> _Effect:
        """Ask which of them have moved."""
        pairs = zip(map(values_of, self.parameters), self.values, strict=True)
        moved = [(now != old).any() if is_waited_for(now) else not torch.equal(now, old) for now, old in pairs]
        return _Effect(self.gradients, self.skips, Answer(moved))


@dataclass(frozen=True, slots=True)
class _Effect:
    """What a step did to parameters of one device, as far as it was asked for."""

    gradients: Answer
    skips: Answer
    moved: Answer

    @property
    def is_there(self) -> bool:
        """Whether it can be heard without waiting."""
        return self.gradients.is_there and self.skips.is_there and self.moved.is_there

    def read(self) -> list[tuple[bool, bool]]:
        """Return of each parameter whether the step had to move it, for its gradient is more than rounding left over, and has."""
        skipped, sizes = any(self.skips.read()), self.gradients.read()
        must = [not size <= _ROUNDING and not skipped for size in sizes]
        return list(zip(must, self.moved.read(), strict=True))


@dataclass(frozen=True, slots=True)
class _Asked:
    """A step whose effect was asked for."""

    place: Location
    subject: str
    effects: list[_Effect]


@dataclass(slots=True)
class _Steps:
    """The steps of one optimizer: what some parameters were before the running one, and how many changed nothing."""

    before: list[_Before] = field(default_factory=list)
    asked: _Asked | None = None
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
        self._hear(watched, steps)
        if steps.looks < _LOOKS and steps.asked is None and not is_lbfgs(watched.optimizer):
            steps.looks += 1
            steps.before = list(_movable(watched, steps.in_a_row == _IN_A_ROW - 1))

    def after_step(self, watched: WatchedOptimizer, place: Location, frame: FrameType | None) -> None:
        """Ask whether any of them has moved."""
        steps = self._steps.get(watched)
        if steps is not None and steps.before:
            before, steps.before = steps.before, []
            steps.asked = _Asked(place, name_of(watched.optimizer, frame), [each.after() for each in before])
            self._hear(watched, steps)

    def _hear(self, watched: WatchedOptimizer, steps: _Steps) -> None:
        """Count a step that left all as it was, once that is known; one that moved something ends the looking."""
        asked = steps.asked
        if asked is None or not all(effect.is_there for effect in asked.effects):
            return
        steps.asked = None
        found = [each for effect in asked.effects for each in effect.read()]
        must, moved = any(must for must, _ in found), any(map(all, found))
        steps.in_a_row += must and not moved
        if moved or steps.in_a_row >= _IN_A_ROW:
            steps.looks = _LOOKS
        if not moved and steps.in_a_row >= _IN_A_ROW:
            watched.explained = True
            self._ledger.report(
                "GL120", asked.place, count=steps.in_a_row, iteration=watched.steps, subject=asked.subject
            )


def _movable(watched: WatchedOptimizer, everything: bool) -> Iterator[_Before]:
    """Yield parameters that a step has to move, if their gradients are felt: some small ones, or `everything`."""
    optimizer: Any = watched.optimizer
    movable = list(_with_gradients(optimizer)) if optimizer is not None else []
    if not everything:
        small = [each for each in movable if each[0].numel() <= _VALUES]
        movable = small[:: max(1, -(-len(small) // _TENSORS))]
    skips = getattr(optimizer, "found_inf", None)
    for group in on_one_device(movable, lambda each: each[1]):
        parameters = [parameter for parameter, _ in group]
        values = [values_of(parameter).clone() for parameter in parameters]
        sizes = Answer(torch._foreach_norm([grad for _, grad in group], torch.inf))
        yield _Before(parameters, values, sizes, Answer([False if skips is None else skips.any()]))


def _with_gradients(optimizer: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the parameters with values here and a gradient, in groups with a rate that is not zero, and its values."""
    for group in optimizer.param_groups:
        rate = group.get("lr", 0.0)
        if isinstance(rate, float) and rate > 0:
            # What is lazy and was never run has neither a gradient nor values.
            for parameter in (each for each in group["params"] if each.grad is not None):
                grad = values_of(parameter.grad)
                if grad.numel() > 0 and has_values(values_of(parameter)):
                    yield parameter, grad
