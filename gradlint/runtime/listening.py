"""What the hooks offer: who hears of the events of a run, and who may let them pass unheard.

Must not know how torch is hooked, nor what is made of an event.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor
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

    @property
    def clearing(self) -> Sequence[Callable[[Optimizer | Module], None]]:
        """Who is told that the gradients of somebody are about to be cleared: nobody, as long as nothing looks wrong."""

    def zeroed(self, owner: Optimizer | Module) -> None:
        """The gradients of `owner` were cleared."""

    def scaled(self, scaler: Any, losses: Any) -> None:
        """A gradient scaler has multiplied losses, which these are."""

    def unscaling(self, scaler: Any, optimizer: Optimizer, frame: FrameType) -> None:
        """The user lets a gradient scaler divide the gradients of an optimizer."""

    def unscaled(self, optimizer: Optimizer) -> None:
        """It has divided them."""

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

    def measured(self, module: Module) -> None:
        """A module is called with gradients off, while `wants_forwards`."""

    def forward_starts(self, module: Module, frame: FrameType) -> None:
        """A module is called with gradients enabled."""


class Deaf:
    """Hears nothing of scales, clipping and what begins: for a listener who makes nothing of them."""

    def step_tried(self, scaler: Any, optimizer: Optimizer, frame: FrameType) -> None:
        """The step itself is heard of."""

    def scaled(self, scaler: Any, losses: Any) -> None:
        """Unheard."""

    def unscaling(self, scaler: Any, optimizer: Optimizer, frame: FrameType) -> None:
        """Unheard."""

    def unscaled(self, optimizer: Optimizer) -> None:
        """Unheard."""

    def scale_updated(self, scaler: Any) -> None:
        """Unheard."""

    def clipping(self, parameters: Sequence[Any], max_norm: Any, frame: FrameType) -> None:
        """Unheard."""

    def schedule_made(self, scheduler: Any, frame: FrameType) -> None:
        """Unheard."""

    @property
    def clearing(self) -> Sequence[Callable[[Optimizer | Module], None]]:
        """Nobody."""
        return ()

    @property
    def wants_forwards(self) -> bool:
        """Never."""
        return False

    def measured(self, module: Module) -> None:
        """Never called."""

    def forward_starts(self, module: Module, frame: FrameType) -> None:
        """Never called."""


def _nobody() -> None:
    """Stand for the reference to an optimizer where none steps."""


@dataclass(slots=True)
class Expected:
    """What comes next in a loop that repeats itself: whose gradients are cleared, who calls a backward pass, or who steps.

    The hooks compare it themselves, without any call of ours that could be saved, and write down what they see.
    """

    cleared: int = 0
    """The optimizer or module, by its id."""
    optimizer: Callable[[], Optimizer | None] = _nobody
    """Who steps; a weak reference."""
    distance: int = 1  # never the frame of who asks, which would hold itself
    code: CodeType | None = None
    instruction: int = 0
    """Where a backward pass is called: how many frames away from who asks, and by which instruction of which code."""
    parameter: Any = None
    sharded: bool = False
    version: int = 0
    growth: int = 0
    """The version of the gradient on which an optimizer steps, and by how much it grows from one time to the next."""
    constant: int = -1
    """That version, where it is the gradient's own and always the same."""
    began: int = 0
    before: int = 0
    last: weakref.ref[Tensor] | None = None
    """Seen: the number of the next node when the last backward pass began (and, where it failed, the one before); the gradient
    of the last step."""


NOTHING = Expected()


class Rhythm(Protocol):
    """Who knows which event comes next in a loop that repeats itself: what is as expected, no listener hears of."""

    running: bool
    coming: Iterator[Expected]
    """Without an end: what nobody can expect comes while it is not `running`."""

    def unexpected(self) -> None:
        """The last of `coming` is not what happens."""

    def forbid(self) -> None:
        """Something happens that no order of events tells: never run again."""


class NoRhythm:
    """For a listener who wants to hear of everything."""

    running = False
    coming: Iterator[Expected] = repeat(NOTHING)

    def unexpected(self) -> None:
        """Nothing was expected."""

    def forbid(self) -> None:
        """Nothing to forbid."""
