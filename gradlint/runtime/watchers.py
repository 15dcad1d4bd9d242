"""Watchers: who judges what happens in a watched run, and in which order they hear of it.

Knows who needs whom; must not know which event is told to whom (`monitor`), nor how torch is hooked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from gradlint.runtime.accumulation import Accumulation
from gradlint.runtime.byhand import ByHand
from gradlint.runtime.coverage import Coverage
from gradlint.runtime.decayed import Decayed
from gradlint.runtime.failures import Failures
from gradlint.runtime.guard import Guard
from gradlint.runtime.leaks import Leaks
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.masked import Masked
from gradlint.runtime.modes import Modes
from gradlint.runtime.movement import Movement
from gradlint.runtime.nonfinite import NonFinite
from gradlint.runtime.observers import Audience, Observer, Pass
from gradlint.runtime.rates import Rates
from gradlint.runtime.rebuilding import Rebuilding
from gradlint.runtime.registry import Registry
from gradlint.runtime.retention import Retention
from gradlint.runtime.scaling import Scaling
from gradlint.runtime.schedulers import Schedulers
from gradlint.runtime.shapes import Shapes
from gradlint.runtime.steady import Steady
from gradlint.runtime.steps import Step
from gradlint.runtime.windows import Windows
from gradlint.typestate import State

if TYPE_CHECKING:
    from torch.nn import Module
    from torch.optim import Optimizer


class _Thread(threading.local):
    """What one thread is in the middle of."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.passing: Pass | None = None


class Watchers:
    """Those who judge one run; `ledger` has the findings."""

    def __init__(self, *, strict: bool = False) -> None:
        self.guard = Guard(strict=strict)
        self.ledger = Ledger(self.guard.announce)
        self.registry = Registry(self.ledger)
        self._schedulers = Schedulers(self.ledger, self.registry)
        self._rates = Rates(self.ledger, self.registry, lambda: self.interrupted)
        self.modes = Modes(self.ledger, self.registry)
        self._leaks = Leaks(self.ledger)
        self._failures = Failures(self.ledger, self.registry)
        self.rhythm = Steady(self.registry, self._failures.passes)
        self._scaling = Scaling(self.ledger, self.registry)
        self._nonfinite = NonFinite(self.ledger)
        observers: tuple[Observer, ...] = (
            self._scaling,
            self._rates,
            Windows(self.ledger, self.registry),
            Accumulation(self.ledger, self.registry, self.rhythm, self._scaling.has_scaled),
            Masked(self.ledger, self.registry),
            Movement(self.ledger),
            self._nonfinite,
            Decayed(self.ledger),
            Rebuilding(self.ledger),
            Retention(self.ledger),
            Shapes(self.ledger),
            ByHand(self.ledger, self.registry),
            Coverage(self.ledger, self.registry, lambda: self.interrupted),
        )
        self._audience = Audience(observers)
        self.interrupted = False
        self._known: tuple[int, list[State]] = (0, [])  # how much was found up to the last step, and what of the modes
        self.clearing: list[Callable[[Optimizer | Module], None]] = []
        self._thread = _Thread()

    @property
    def steps(self) -> int:
        """How many steps the optimizers have taken; complete once the run has ended."""
        return self.registry.steps

    def _unsettle(self) -> None:
        """Something came that no cycle has: look closely for a while."""
        self.rhythm.leave()
        self.rhythm.spoil()
