"""Closures given to `step`: what one evaluation must do, and what the backward pass before it was for.

Only LBFGS needs a closure that clears, recomputes and returns; other optimizers may be given one that does less.
Knows optimizers by their state; must not know torch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from gradlint.diagnostics import Location
from gradlint.runtime.guard import Guard
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.optimizers import WatchedOptimizer

Closure = Callable[[], Any]


class ClosureCall:
    """One `step(closure)`, from before its first evaluation until it returns."""

    def __init__(
        self, ledger: Ledger, watched: WatchedOptimizer, closure: Closure, place: Location, name: str, *, demanding: bool
    ) -> None:
        self._ledger = ledger
        self._watched = watched
        self._place = place
        self._name = name
        self._demanding = demanding
        self._closure = closure
        self._before = watched.fresh_place() if watched.fed_alone else None
        self._evaluations = 0
        self._recomputed = False

    def wrapped(self, guard: Guard) -> Closure:
        """Return the closure that `step` shall call instead."""

        @functools.wraps(self._closure)
        def evaluate(*args: Any, **kwargs: Any) -> Any:
            self._evaluations += 1
            self._watched.accumulated = None
            backwards = self._watched.backwards
            value = self._closure(*args, **kwargs)
            guard.run(self._evaluated, value, backwards)
            return value

        return evaluate

    def _evaluated(self, value: Any, backwards: int) -> None:
        watched = self._watched
        recomputed = watched.backwards > backwards or watched.changed_by_hand(self._place)
        self._recomputed |= recomputed
        if recomputed and watched.accumulated is False and self._before is not None:
            self._report("GL407", self._before, ("step", self._place))
        self._before = None
        if not self._demanding:
            return
        if value is None:  # torch raises TypeError now
            self._report("GL404", self._place)
            self._demanding = False
        elif self._evaluations > 1 and watched.accumulated:
            fresh = watched.fresh_place()
            self._report("GL402", self._place, *((("fresh", fresh),) if fresh else ()))
            self._demanding = False

    def ended(self) -> None:
        """The step has returned."""
        if self._demanding and self._evaluations and not self._recomputed:
            self._report("GL403", self._place)

    def _report(self, code: str, place: Location, *marks: tuple[str, Location]) -> None:
        made = getattr(self._closure, "__code__", None)
        where = (("closure", Location(made.co_filename, made.co_firstlineno)),) if made else ()
        self._ledger.report(code, place, (*where, *marks), iteration=self._watched.steps + 1, subject=self._name)
