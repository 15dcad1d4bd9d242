"""The parameter groups of a recorded run, and the state of their gradients after each event.

A few tensors stand for each group. The monitor's own account is of no use here: it rests while a loop repeats itself.
Knows gradients and optimizers by what they offer; must not know how torch is hooked, nor what is recorded.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.runtime.gradients import Gradient
from gradlint.runtime.schedulers import first_parameter
from gradlint.timeline import Group

if TYPE_CHECKING:
    from torch.optim import Optimizer

_SAMPLED = 3
# What is told of a group whose gradients disagree: the first of these that one of them is in.
_TELLING = ("dirty", "fresh", "unknown-fresh", "discarded", "spent", "unknown", "clean", "new")


class RecordedGroup:
    """A group and the gradients that stand for it."""

    def __init__(self, group: dict[str, Any]) -> None:
        trained = [parameter for parameter in group["params"] if parameter.requires_grad]
        stride = max(1, -(-len(trained) // _SAMPLED))
        self.gradients = [Gradient(parameter) for parameter in trained[::stride]]
        self.tensors = len(group["params"])

    @property
    def state(self) -> str:
        """The state that tells most."""
        states = {gradient.track.state.name for gradient in self.gradients}
        if len(states) == 1:
            return next(iter(states))
        return next((name for name in _TELLING if name in states), "new")


class RecordedOptimizer:
    """An optimizer and its groups; `name` is what the user calls it, `""` until it has done something."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = weakref.ref(optimizer)
        self.first = weakref.ref(first_parameter(optimizer))
        self.name = ""
        self.groups = [RecordedGroup(group) for group in optimizer.param_groups]
        self.used: tuple[float, ...] = ()  # the rates of its last step

    def refresh(self) -> None:
        """Take in groups that were added since."""
        optimizer = self.optimizer()
        if optimizer is not None:
            self.groups += [RecordedGroup(group) for group in optimizer.param_groups[len(self.groups) :]]

    def rates(self) -> tuple[float, ...]:
        """Return the learning rate of each group; nan where it would have to be fetched from a device."""
        optimizer = self.optimizer()
        groups: list[dict[str, Any]] = [] if optimizer is None else optimizer.param_groups[: len(self.groups)]
        known = [_rate(group.get("lr", math.nan)) for group in groups]
        return (*known, *(math.nan for _ in self.groups[len(known) :]))

    def step(self, cause: EventKind | None, place: Location) -> tuple[str, ...]:
        """Advance by a step at `place`; return the rules that it breaks."""
        codes = set()
        for group in self.groups:
            for gradient in group.gradients:
                gradient.come_here(place)
                gradient.look(cause, place)
                violation = gradient.track.advance(EventKind.STEP, place)
                if violation is not None:
                    codes.add(violation.code)
        return tuple(sorted(codes))

    def settle(self) -> None:
        """Take the gradients as a step has left them."""
        for group in self.groups:
            for gradient in group.gradients:
                parameter = gradient.parameter
                gradient.remember(None if parameter is None else parameter.grad)


class Groups:
    """The optimizers of the run, in the order in which they were first seen to act."""

    def __init__(self) -> None:
        self._waiting: dict[int, RecordedOptimizer] = {}
        self._acting: list[RecordedOptimizer] = []

    def made(self, optimizer: Optimizer) -> None:
        """An optimizer exists; it may be a wrapper that never acts itself."""
        if any(True for group in optimizer.param_groups for _ in group["params"]):
            self._waiting[id(optimizer)] = RecordedOptimizer(optimizer)

    def of(self, optimizer: Optimizer, name: Callable[[Any], str]) -> RecordedOptimizer | None:
        """Return what is known about an optimizer that acts (None: it holds nothing); `name` tells what it is called."""
        known = next((each for each in self._acting if each.optimizer() is optimizer), None)
        if known is None:
            known = self._waiting.pop(id(optimizer), None)
            if known is None or known.optimizer() is not optimizer:
                self.made(optimizer)
                known = self._waiting.pop(id(optimizer), None)
            if known is not None:
                known.name = name(optimizer)
                self._acts(known)
        return known

    def _acts(self, new: RecordedOptimizer) -> None:
        """Take in an optimizer; one that was built anew takes the place of its predecessor."""
        for index, old in enumerate(self._acting):
            if old.optimizer() is None and old.name == new.name and len(old.groups) == len(new.groups):
                self._acting[index] = new
                return
        self._acting.append(new)

    def _gradients(self) -> Iterator[Gradient]:
        for optimizer in (*self._acting, *self._waiting.values()):
            for group in optimizer.groups:
                yield from group.gradients

    def before_backward(self, place: Location, *, in_step: bool) -> None:
        """Catch up with what users did to gradients since the last event."""
        suspects = ("spent", "dirty", "fresh") if in_step else ("spent", "dirty")
        for gradient in self._gradients():
            gradient.look(None, place)
            gradient.look_for_hidden_zero(place, suspects)

    def after_backward(self, place: Location) -> None:
        """Advance the gradients that a backward pass has changed."""
        for gradient in self._gradients():
            gradient.look(EventKind.BACKWARD, place)

    def zeroed(self, owner: RecordedOptimizer | None, place: Location) -> None:
        """Advance the gradients that were cleared."""
        own = {id(gradient) for group in (owner.groups if owner else ()) for gradient in group.gradients}
        for gradient in self._gradients():
            if id(gradient) in own:
                gradient.come_here(place)
            if not gradient.look(EventKind.ZERO, place) and id(gradient) in own:
                gradient.track.advance(EventKind.ZERO, place)

    @property
    def states(self) -> tuple[str, ...]:
        """The state of every group."""
        return tuple([group.state for optimizer in self._acting for group in optimizer.groups])

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rate of every group, as its last step used it."""
        return tuple(rate for optimizer in self._acting for rate in optimizer.used or optimizer.rates())

    @property
    def frozen(self) -> tuple[Group, ...]:
        """The groups, for whoever draws them."""
        return tuple(
            Group(optimizer.name, index, group.tensors)
            for optimizer in self._acting
            for index, group in enumerate(optimizer.groups)
        )


def _rate(value: Any) -> float:
    """Return a learning rate as a number; one that lies on a device is not asked for."""
    device = getattr(value, "device", None)
    return math.nan if device is not None and device.type != "cpu" else float(value)
