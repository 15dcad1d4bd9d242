"""Closures given to `step`: what one evaluation must do, and what the backward pass before it was for.

Only LBFGS needs a closure that clears, recomputes and returns; other optimizers may be given one that does less.
Knows optimizers by their state; must not know torch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType, FunctionType, MethodType
from typing import Any

from gradlint.diagnostics import Location
from gradlint.runtime.bytecode import names_between
from gradlint.runtime.guard import Guard
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.optimizers import WatchedOptimizer
from gradlint.runtime.sites import name_of, place_of

Closure = Callable[[], Any]
_OF_DECORATORS = frozenset({"__wrapped__"})


def closure_in(arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> Any:
    """Return the closure among the arguments of an optimizer's `step`; trainers pass None where there is none."""
    args, kwargs = arguments
    return kwargs.get("closure", args[1] if len(args) > 1 else None)


def can_be_replaced(closure: Any) -> bool:
    """Tell whether a function may stand in for a closure: nobody can ask that for anything but its value."""
    if not isinstance(closure, FunctionType | MethodType | functools.partial):
        return False
    return vars(getattr(closure, "__func__", closure)).keys() <= _OF_DECORATORS


@dataclass(slots=True)
class ClosureCall:
    """One `step(closure)` of an optimizer, called in `frame`, until it returns; `demanding`: it is LBFGS."""

    watched: WatchedOptimizer
    closure: Closure
    place: Location
    name: str
    demanding: bool
    ledger: Ledger
    thrown_away: Location | None = None
    evaluations: int = 0
    recomputed: bool = False
    wrong: bool = False

    def wrapped(self, guard: Guard) -> Closure:
        """Return the closure that `step` shall call instead."""

        @functools.wraps(self.closure)
        def evaluate(*args: Any, **kwargs: Any) -> Any:
            backwards = guard.run(self._begun)
            value = self.closure(*args, **kwargs)
            guard.run(self._evaluated, value, backwards or 0)
            return value

        return evaluate

    def _begun(self) -> int:
        """An evaluation begins; return the count of backward passes before it."""
        self.evaluations += 1
        self.watched.accumulated = None
        if self.watched.fresh_place() is not self.thrown_away:
            self.thrown_away = None  # the step itself has used them
        return self.watched.backwards

    def _evaluated(self, value: Any, backwards: int) -> None:
        """Judge one evaluation that returned `value`; `backwards` is the count of backward passes before it."""
        watched, before = self.watched, self.thrown_away
        recomputed = watched.backwards > backwards or watched.changed_by_hand(self.place)
        self.recomputed |= recomputed
        self.thrown_away = None
        if before is not None and recomputed and watched.accumulated is False:
            self._report("GL407", before, ("step", self.place))
        if not self.demanding or self.wrong:
            return
        if value is None:  # torch raises TypeError now
            self._wrong("GL404")
        elif self.evaluations > 1 and watched.accumulated:
            fresh = watched.fresh_place()
            self._wrong("GL402", *((("fresh", fresh),) if fresh else ()))

    def ended(self) -> None:
        """The step has returned; what a wrong closure did to the gradients is no second mistake."""
        if self.demanding and self.evaluations and not self.recomputed:
            self._wrong("GL403")
        if self.wrong:
            self.watched.escape(self.place)

    def _wrong(self, code: str, *marks: tuple[str, Location]) -> None:
        self.wrong = True
        self._report(code, self.place, *marks)

    def _report(self, code: str, place: Location, *marks: tuple[str, Location]) -> None:
        made = getattr(self.closure, "__code__", None)
        where = (("closure", Location(made.co_filename, made.co_firstlineno)),) if made else ()
        self.ledger.report(code, place, (*where, *marks), iteration=self.watched.steps + 1, subject=self.name)


def closure_call(
    ledger: Ledger,
    watched: WatchedOptimizer,
    closure: Closure,
    frame: FrameType | None,
    *,
    demanding: bool,
    unused: bool,
) -> ClosureCall:
    """Return the record of a `step(closure)` that `frame` is in; `unused`: the gradients before it served nobody."""
    place, name = place_of(frame), name_of(watched.optimizer, frame)
    thrown_away = _thrown_away(watched, place, frame) if unused else None
    return ClosureCall(watched, closure, place, name, demanding, ledger, thrown_away)


def _thrown_away(watched: WatchedOptimizer, place: Location, frame: FrameType | None) -> Location | None:
    """Return the backward pass that a closure which clears would make useless.

    It must be in the same function as the step, with no word of gradients in between.
    """
    fresh = watched.fresh_place()
    if fresh is None or frame is None or fresh.filename != place.filename:
        return None
    if not frame.f_code.co_firstlineno <= fresh.row <= place.row:
        return None
    names = names_between(frame.f_code, fresh.row, place.row)
    return None if any("grad" in name for name in names) else fresh
