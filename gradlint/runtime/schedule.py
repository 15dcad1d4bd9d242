"""One scheduler of the run: what it is, how long, and how it was stepped.

Knows schedulers by what they offer; must not know rules or torch.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from types import CellType
from typing import Any

from gradlint.diagnostics import Location
from gradlint.runtime.optimizers import WatchedOptimizer

_LENGTHS = {"OneCycleLR": "total_steps", "CosineAnnealingLR": "T_max", "PolynomialLR": "total_iters"}
_SAYS_LENGTH = frozenset(
    {
        *(
            "num_training_steps",
            "total_steps",
            "max_steps",
            "num_steps",
            "n_steps",
            "total_iters",
            "max_iters",
            "num_iters",
        ),
        *("total", "t_total", "T_max", "training_steps", "total_iterations", "max_iterations", "total_updates"),
    }
)
_UNBOUND = CellType()
# What a schedule multiplies the rates by, by the names of its attributes.
_FACTORS = {
    "ConstantLR": ("factor",),
    "LinearLR": ("start_factor", "end_factor"),
    "StepLR": ("gamma",),
    "MultiStepLR": ("gamma",),
    "ExponentialLR": ("gamma",),
}


@dataclass(slots=True)
class Schedule:
    """One scheduler; `place` is where it was stepped first, `built` where it was made, if that was seen."""

    scheduler: weakref.ref[Any]
    watched: WatchedOptimizer
    cls: str
    name: str
    length: int | None
    turns: int | None = None  # the last of the steps at which it lowers the rate
    built: Location | None = None
    place: Location | None = None
    before: int = 0  # the steps that its optimizer had taken when it was made
    steps: int = 0
    last: int = 0  # the number of its last step, as it counts itself
    restarted: bool = False  # it was set back, or given another length
    held: bool = False  # another scheduler steps it
    constant: bool = False  # it changes no rate
    gone: int | None = (
        None  # the step at which its rate had shrunk to nothing, or was lowered for a patience of few steps
    )
    first: float | None = None  # the rate at its first step
    again: int = 0  # how many before it, built at the same place, had only just begun
    rests: bool = False  # its rate is 0 now
    below: int = 0  # so often its optimizer had a rate below 0 when it moved on
    idle: int = 0  # so many first steps of the optimizer had the rate 0
    other: Location | None = None  # where an optimizer was built that steps the same parameters
    epoch: float = 0.0

    def count(self, scheduler: Any, place: Location) -> None:
        """Take in a step at `place`, before it changes anything."""
        self.place = self.place or place
        self.steps += 1
        last = getattr(scheduler, "last_epoch", -1) + 1
        self.restarted = self.restarted or last <= self.last or length_of(scheduler) != self.length
        self.last = last

    @property
    def taken(self) -> int:
        """How many steps the optimizer has taken since the scheduler was made."""
        return self.watched.steps - self.before


def length_of(scheduler: Any) -> int | None:
    """Return for how many steps a schedule was made, None if it does not say."""
    length = getattr(scheduler, _LENGTHS.get(type(scheduler).__name__, ""), None)
    if length is None:
        factors = getattr(scheduler, "lr_lambdas", None) or [None]
        length = next((each for name, each in _known_to(factors[0]) if name in _SAYS_LENGTH), None)
    return length if isinstance(length, int) else None


def _known_to(factor: Any) -> Iterator[tuple[str, Any]]:
    """Yield what the function of a LambdaLR remembers: a partial one (such as those of transformers) its arguments, a nested one its closure."""
    yield from getattr(factor, "keywords", {}).items()
    names = getattr(getattr(factor, "__code__", None), "co_freevars", ())
    cells = getattr(factor, "__closure__", None) or ()
    yield from ((name, cell.cell_contents) for name, cell in zip(names, cells, strict=False) if cell != _UNBOUND)


def turns_of(scheduler: Any) -> int | None:
    """Return after how many steps a schedule lowers the rate for the last time, None if it goes on or raises it."""
    milestones = getattr(scheduler, "milestones", None)
    if type(scheduler).__name__ != "MultiStepLR" or not milestones or scheduler.gamma >= 1:
        return None
    return int(max(milestones))


def is_constant(scheduler: Any) -> bool:
    """Tell whether a schedule multiplies the rates by 1: who never steps it loses nothing."""
    factors = [getattr(scheduler, name, None) for name in _FACTORS.get(type(scheduler).__name__, ())]
    return bool(factors) and all(factor == 1 for factor in factors)
