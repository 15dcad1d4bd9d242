"""What the hooks offer: who hears of the events of a run, and who may let them pass unheard.

Must not know how torch is hooked, nor what is made of an event.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch.nn import Module
    from torch.optim import Optimizer

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Listener(Protocol):
    """Who hears of the events; `frame` is where to look for the user's line.

    The events of every iteration come without one, but for the start of a backward pass: to ask for a frame is dear.
    """

    def optimizer_made(self, optimizer: Optimizer, frame: FrameType | None) -> None:
        """An optimizer exists; it was built just now, or before the watching began (no frame)."""

    def before_backward(self, roots: Sequence[Any], accumulates: bool, retains: bool, frame: FrameType) -> None:
        """A backward pass starts (`accumulates`: into `.grad`; `retains`: it keeps the graph, and makes no new one)."""

    def after_backward(self, roots: Sequence[Any], error: BaseException | None, frame: FrameType) -> None:
        """It ended, perhaps by raising `error`."""

    def before_step(self, optimizer: Optimizer, arguments: Arguments) -> Arguments | None:
        """`optimizer.step(*arguments)` starts; other arguments may be returned for it."""

    def after_step(self, optimizer: Optimizer) -> None:
        """It ended well."""

    def step_tried(self, scaler: Any, optimizer: Optimizer, frame: FrameType) -> None:
        """A gradient scaler will step the optimizer, or skip the step."""

    def zeroed(self, owner: Optimizer | Module) -> None:
        """The gradients of `owner` were cleared."""

    def scaled(self, scaler: Any, losses: Any) -> None:
        """A gradient scaler has multiplied losses, which these are."""

    def unscaling(self, scaler: Any, optimizer: Optimizer, frame: FrameType) -> None:
        """The user lets a gradient scaler divide the gradients of an optimizer."""

    def scale_updated(self, scaler: Any) -> None:
        """A gradient scaler chose its next scale."""

    def clipping(self, parameters: Sequence[Any], max_norm: Any, frame: FrameType) -> None:
        """The gradients of `parameters` are about to be clipped."""

    def schedule_made(self, scheduler: Any, frame: FrameType) -> None:
        """A scheduler was built."""

    def scheduled(self, scheduler: Any, frame: FrameType) -> None:
        """A scheduler was stepped."""

    def mode_changed(self, module: Module, was: bool, frame: FrameType) -> None:
        """`module.train(mode)` was called on a module whose mode was `was`."""

    @property
    def wants_forwards(self) -> bool:
        """Whether `forward_starts` is wanted; asked after each change of mode and each forward."""

    def forward_starts(self, module: Module, frame: FrameType) -> None:
        """A module is called with gradients enabled."""


class Rhythm(Protocol):
    """Who knows which event comes next in a loop that repeats itself: what is as expected, no listener hears of."""

    running: bool

    def meets_zero(self, owner: Optimizer | Module) -> bool:
        """Tell whether clearing the gradients of `owner` is what comes next; ask only while `running`."""

    def meets_backward(self) -> bool:
        """Tell whether a backward pass is what comes next, where it is called; ask in the seam, only while `running`."""

    def meets_step(self, optimizer: Optimizer) -> bool:
        """Tell whether a step of `optimizer` is what comes next; ask only while `running`."""

    def forbid(self) -> None:
        """Something happens that no order of events tells: never run again."""


class NoRhythm:
    """For a listener who wants to hear of everything."""

    running = False

    def meets_zero(self, owner: Optimizer | Module) -> bool:
        """Never asked."""
        return False

    def meets_backward(self) -> bool:
        """Never asked."""
        return False

    def meets_step(self, optimizer: Optimizer) -> bool:
        """Never asked."""
        return False

    def forbid(self) -> None:
        """Nothing to forbid."""
