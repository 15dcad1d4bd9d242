"""What happens around the steps of a loop: gradient scalers, clipping, schedules, modes, loops over loaders, forward passes.

Says who is told of which of them; must not know the steps themselves (`monitor`), nor how torch is hooked.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from gradlint.runtime.graph import clock, differentiates
from gradlint.runtime.guard import guarded
from gradlint.runtime.sites import Origin, origin_of, place_of, user_frame
from gradlint.runtime.watchers import Watchers

if TYPE_CHECKING:
    from torch.nn import Module
    from torch.optim import Optimizer


class Surroundings(Watchers):
    """Listens to what surrounds the steps of one run."""

    @guarded
    def scaled(self, scaler: Any, losses: Any) -> None:
        """A gradient scaler has multiplied losses, which these are."""
        if not self.rhythm.running:
            self._scaling.scaled(scaler, losses)

    @guarded
    def unscaling(self, scaler: Any, optimizer: Optimizer, frame: FrameType) -> None:
        """The user lets a gradient scaler divide the gradients of an optimizer."""
        if not self.rhythm.running:
            caller = user_frame(frame)
            self._unscaling(scaler, optimizer)
            self._scaling.divided(scaler, optimizer, place_of(caller), caller)

    @guarded
    def step_tried(self, scaler: Any, optimizer: Optimizer, frame: FrameType) -> None:
        """A gradient scaler will step the optimizer, or skip the step."""
        self._schedulers.tried(optimizer)
        self.registry.of(optimizer).tries += 1
        if self.rhythm.running:
            self._scaling.forget()
        else:
            caller = user_frame(frame)
            self._unscaling(scaler, optimizer)
            self._scaling.tried(scaler, optimizer, place_of(caller), caller)

    @guarded
    def unscaled(self, optimizer: Optimizer) -> None:
        """It has divided them."""
        if not self.rhythm.running:
            for hear in self._audience.unscaled:
                hear(self.registry.of(optimizer))

    def _unscaling(self, scaler: Any, optimizer: Optimizer) -> None:
        if scaler.is_enabled():
            for hear in self._audience.unscaling:
                hear(self.registry.of(optimizer))

    @guarded
    def scale_updated(self, scaler: Any) -> None:
        """A gradient scaler chose its next scale."""
        self._scaling.updated(scaler)

    @guarded
    def clipping(self, parameters: Sequence[Any], max_norm: Any, frame: FrameType) -> None:
        """The gradients of `parameters` are about to be clipped."""
        caller = user_frame(frame)
        for hear in self._audience.clipping:
            hear(parameters, max_norm, place_of(caller), caller)

    @guarded
    def schedule_made(self, scheduler: Any, frame: FrameType) -> None:
        """A scheduler was built."""
        caller = user_frame(frame)
        while caller is not None and caller.f_code.co_name == "__init__" and caller.f_locals.get("self") is scheduler:
            caller = user_frame(caller.f_back)  # a class of the user's, derived from torch's
        self._rates.built(scheduler, place_of(caller), caller)

    @guarded
    def scheduled(self, scheduler: Any, frame: FrameType) -> None:
        """A scheduler was stepped."""
        caller = user_frame(frame)
        place = place_of(caller)
        self._schedulers.scheduled(scheduler, place, caller)
        self._rates.scheduled(scheduler, _epoch(frame), place, caller)

    @guarded
    def mode_changed(self, module: Module, was: bool, frame: FrameType) -> None:
        """`module.train(mode)` was called on a module whose mode was `was`."""
        if module.training:
            self.modes.told(module, self.rhythm.last_pass())
        if self.modes.is_routine(module, was):
            return
        self._unsettle()
        caller = user_frame(frame)
        self.modes.changed(module, was, place_of(caller), caller, clock(), measures=not differentiates())
        self._nonfinite.unsettled(caller)

    def loop_begins(self, frame: FrameType) -> None:
        """A loop over a loader begins."""
        self._leaks.loop_begins()
        if self._nonfinite.is_due(self.rhythm.progress) and self._nonfinite.finds():
            self._unsettle()
            self._nonfinite.unsettled(user_frame(frame))

    @property
    def wants_forwards(self) -> bool:
        """Tell whether `forward_starts` is of use now."""
        return not self.guard.closed and self.modes.wants_forwards

    def measured(self, module: Module) -> None:
        """A module is called with gradients off."""
        self.modes.looked_at(module)

    @guarded
    def forward_starts(self, module: Module, frame: FrameType) -> None:
        """A module is called with gradients enabled."""
        self.modes.forward(module, frame)


def _epoch(frame: FrameType) -> Any:
    """Return what a scheduler's own `step` was given as the epoch; other frames may mean anything by that name."""
    return frame.f_locals.get("epoch") if origin_of(frame.f_code) is Origin.MACHINERY else None
