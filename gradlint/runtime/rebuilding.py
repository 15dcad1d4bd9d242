"""Optimizers that are built anew for every step, and so forget each time what they have learned (GL805).

Knows optimizers; must not know torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import FrameType
from typing import Any

from gradlint.diagnostics import Location
from gradlint.runtime.gradients import version_of
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.observers import Observer
from gradlint.runtime.optimizers import WatchedOptimizer
from gradlint.runtime.sites import name_of

_OFTEN = 8
_STEPS = 2


@dataclass(slots=True)
class _Built:
    """The optimizer that was built last at one place, and how many before it were the same and hardly used."""

    watched: WatchedOptimizer
    parameter: int
    rate: Any
    version: int  # of its first parameter, now and after its last step
    again: int = 0
    remembers: bool = False
    name: str = "optimizer"


class Rebuilding(Observer):
    """Compares each new optimizer with the one that was built before it at the same place."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._built: dict[int, _Built] = {}

    def made(self, watched: WatchedOptimizer, place: Location) -> None:
        """Count an optimizer that replaces one of the same parameters and rate, which had a memory and no time to use it."""
        optimizer, parameter = watched.optimizer, next(watched.parameters(), None)
        if optimizer is None or parameter is None:
            return
        now = _Built(watched, id(parameter), optimizer.param_groups[0].get("lr"), version_of(parameter))
        before, self._built[id(place)] = self._built.get(id(place)), now
        if before is None or not before.remembers or before.watched.steps > _STEPS:
            return
        # Another version: the parameters were loaded or reset, and the optimizer with them.
        if (before.parameter, before.rate, before.version) == (now.parameter, now.rate, now.version):
            now.again = before.again + 1
            if now.again >= _OFTEN:
                what = "it forgets its moments, and takes its first step again each time"
                self._ledger.report("GL805", place, iteration=now.again, subject=before.name, what=what)

    def after_step(self, watched: WatchedOptimizer, place: Location, frame: FrameType | None) -> None:
        """Note whether the optimizer has something to forget."""
        optimizer, parameter = watched.optimizer, next(watched.parameters(), None)
        if optimizer is None or parameter is None or watched.steps > _STEPS:
            return
        for built in self._built.values():
            if built.watched is watched:
                built.version = version_of(parameter)
                state = optimizer.state.get(parameter, {})
                built.remembers = any(hasattr(value, "untyped_storage") for value in state.values())
                built.name = name_of(optimizer, frame)
