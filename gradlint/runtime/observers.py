"""What a rule that looks at single events may hear of.

The automata judge the order of events; an observer judges one thing that an order does not tell: how many there were,
what a graph is made of, who is in no optimizer. It hears only of what is looked at closely: in the first iterations, in
routine checks, and around whatever deviates. Must not know how torch is hooked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from gradlint.diagnostics import Location
from gradlint.runtime.optimizers import WatchedOptimizer

if TYPE_CHECKING:
    from torch.nn import Module
    from torch.optim import Optimizer

_P = ParamSpec("_P")


@dataclass(frozen=True, slots=True)
class Pass:
    """A backward pass: where it starts, what it does, and the user's frame."""

    roots: Sequence[Any]
    place: Location
    frame: FrameType | None
    accumulates: bool = True
    retains: bool = False


class Observer:
    """Hears of events; each does with them what it likes."""

    def made(self, watched: WatchedOptimizer, place: Location) -> None:
        """An optimizer was built at `place`."""

    def before_backward(self, passing: Pass) -> None:
        """A backward pass starts: its graph is whole."""

    def after_backward(self, passing: Pass, fed: Sequence[WatchedOptimizer]) -> None:
        """A backward pass has reached the gradients of the optimizers `fed`."""

    def before_zero(self, owner: Optimizer | Module, place: Location) -> None:
        """The gradients of `owner` were cleared, which no gradient has been told yet."""

    def clipping(self, parameters: Sequence[Any], max_norm: Any, place: Location, frame: FrameType | None) -> None:
        """The gradients of `parameters` are about to be clipped."""

    def unscaling(self, watched: WatchedOptimizer) -> None:
        """A gradient scaler is about to divide the gradients of an optimizer."""

    def unscaled(self, watched: WatchedOptimizer) -> None:
        """It has done so, for the user asked it to."""

    def before_step(self, watched: WatchedOptimizer, place: Location, frame: FrameType | None) -> None:
        """An optimizer is about to step; its gradients stand as the step finds them."""

    def after_step(self, watched: WatchedOptimizer, place: Location, frame: FrameType | None) -> None:
        """It has stepped."""

    def ended(self) -> None:
        """The run is over."""


class Audience:
    """Who is told of each event: the observers that make something of it, in their order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self.made = _hearing(observers, Observer.made)
        self.before_backward = _hearing(observers, Observer.before_backward)
        self.after_backward = _hearing(observers, Observer.after_backward)
        self.before_zero = _hearing(observers, Observer.before_zero)
        self.clipping = _hearing(observers, Observer.clipping)
        self.unscaling = _hearing(observers, Observer.unscaling)
        self.unscaled = _hearing(observers, Observer.unscaled)
        self.before_step = _hearing(observers, Observer.before_step)
        self.after_step = _hearing(observers, Observer.after_step)
        self.ended = _hearing(observers, Observer.ended)


def _hearing(
    observers: Sequence[Observer], event: Callable[Concatenate[Any, _P], None]
) -> tuple[Callable[_P, None], ...]:
    """Return the methods of those who do not leave it at `event`, the one that does nothing."""
    name = event.__name__
    return tuple(getattr(each, name) for each in observers if getattr(type(each), name) is not event)
