"""Every optimizer of the run, and the state of its gradients.

At first each parameter is looked at; once the loop is known to be clean, a few stand for all, and every so often
all are looked at again. Only what all parameters agree on is called an empty or a repeated step.
Knows gradients and the ledger; must not know how torch is hooked.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.runtime.gradients import Gradient, version_of
from gradlint.runtime.ledger import Ledger
from gradlint.typestate import Violation

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

_FULL_STEPS = 8
_FULL_AGAIN = 2
_EVERY = 32
_AT_MOST = 1024
_SAMPLED = 2
_EMPTY = ("GL103", "GL109", "GL104")


class WatchedOptimizer:
    """One optimizer: its gradients, its steps, and the steps that did nothing."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = weakref.ref(optimizer)
        self.steps = 0
        self.backwards = 0
        self.last_step: Location | None = None
        self.built: Location | None = None
        self.feeds: dict[int, Location] = {}
        self.fed_alone = True
        self.tries = 0  # how often a scaler was asked to step it, which it may have skipped
        self.explained = False  # why its steps change nothing is told already
        self.accumulated: bool | None = None
        self._all: list[Gradient] = []
        self._sentinels: list[Gradient] = []
        self._known = 0
        self._full_until = _FULL_STEPS
        self._full_again = 0
        self._versions: list[int] | None = None
        self._empty: EmptySteps | None = None
        self.refresh()

    @property
    def optimizer(self) -> Optimizer | None:
        """The optimizer, if it still exists."""
        return self._optimizer()

    @property
    def reference(self) -> weakref.ref[Optimizer]:
        """The optimizer, for whom a call of ours would be too slow."""
        return self._optimizer

    @property
    def gradients(self) -> list[Gradient]:
        """The gradients that are looked at now."""
        return self._sentinels or self._all

    @property
    def settled(self) -> bool:
        """Whether the first steps, in which everything is looked at, are over (or have not begun)."""
        return bool(self._sentinels) or not self.steps or (len(self._all) <= _SAMPLED and self.steps >= _FULL_STEPS)

    def parameters(self) -> Iterator[Tensor]:
        """Yield the parameters that the optimizer holds."""
        optimizer = self._optimizer()
        for group in optimizer.param_groups if optimizer is not None else ():
            yield from group["params"]

    def refresh(self) -> None:
        """Take in parameters that were added or unfrozen since the last time."""
        known = {id(gradient.parameter) for gradient in self._all}
        every = [parameter for parameter in self.parameters() if parameter.requires_grad]
        stride = max(1, -(-len(every) // _AT_MOST))
        self._all += [Gradient(parameter) for parameter in every[::stride] if id(parameter) not in known]
        self._known = self._size()

    def _size(self) -> int:
        optimizer = self._optimizer()
        return sum(len(group["params"]) for group in optimizer.param_groups) if optimizer is not None else 0

    def before_step(self, cause: EventKind | None, place: Location) -> Violation | None:
        """Advance by a step at `place`; return the violation on which the gradients agree, if any.

        `cause` is BACKWARD for a step taken inside a running backward pass.
        """
        if not self._sentinels and self._size() != self._known:
            self.refresh()
        self.steps += 1
        self.last_step = place
        gradients = self.gradients
        repeated = all(gradient.track.state.name == "spent" for gradient in gradients)
        found: list[Violation | None] = []
        for gradient in gradients:
            gradient.come_here(place)
            gradient.look(cause, place)
            gradient.settle()
            found.append(gradient.track.advance(EventKind.STEP, place))
        if not any(found):
            return None
        return self._judge([each for each in found if each], len(found), repeated)

    def _judge(self, found: list[Violation], total: int, repeated: bool) -> Violation | None:
        for violation in found:
            if violation.code == "GL101":
                return violation
        if len(found) < total:
            return None
        if self._sentinels:
            self._look_at_all(found[0].place)
            return None
        worst = min(found, key=lambda violation: _EMPTY.index(violation.code))
        if worst.code == "GL109" and not (
            repeated and any(gradient.looks_the_same() for gradient in self._all[:_SAMPLED])
        ):
            return None
        self._full_until = self.steps + _EVERY  # what goes wrong is counted
        if worst.code == "GL104":
            self._versions = [version_of(parameter) for parameter in self.parameters()]
        return worst

    def fed(self, place: Location, *, accumulated: bool) -> None:
        """Count a backward pass at `place` that reached the gradients, perhaps adding to some that were there."""
        self.backwards += 1
        self.feeds[id(place)] = place
        if self.accumulated is None:
            self.accumulated = accumulated

    def fresh_place(self) -> Location | None:
        """Return the backward pass whose gradients nobody has used yet, if there is one."""
        states = (gradient.track.state for gradient in self.gradients)
        return next((state.mark("fresh") for state in states if state.name == "fresh"), None)

    def changed_by_hand(self, place: Location) -> bool:
        """Look at the gradients outside of any call; tell whether somebody has written new ones."""
        written = False
        for gradient in self.gradients:
            before = gradient.track.state
            gradient.look(None, place)
            written |= gradient.track.state is not before and gradient.track.state.name == "fresh"
        return written

    def versions(self, absent: int = -1) -> list[int]:
        """Return the versions of the gradients that are looked at, `absent` for those that are not there."""
        parameters = [gradient.reference() for gradient in self.gradients]
        grads = [None if parameter is None else parameter.grad for parameter in parameters]
        return [absent if grad is None else version_of(grad) for grad in grads]

    def escape(self, place: Location) -> None:
        """Give up judging until the next step: somebody else's `step(...)` may do anything to the gradients."""
        for gradient in self.gradients:
            gradient.track.advance(EventKind.ESCAPE, place)

    def escape_elsewhere(self, place: Location) -> None:
        """Give up judging what other threads use: this one may have changed it, and must not look."""
        for gradient in self.gradients:
            if not gradient.is_here:
                gradient.track.advance(EventKind.ESCAPE, place)

    def moved(self) -> bool:
        """Tell whether a step that looked empty changed a parameter after all."""
        before, self._versions = self._versions, None
        return before is not None and before != [version_of(parameter) for parameter in self.parameters()]

    def after_step(self, place: Location) -> None:
        """Take the gradients as the step left them, and choose which ones to look at from now on."""
        if self._sentinels:
            if self.steps >= self._full_again:
                self._look_at_all(place)
        elif self.steps >= self._full_until:
            self._choose()
        for gradient in self.gradients:
            parameter = gradient.parameter
            grad = None if parameter is None else parameter.grad
            if grad is None:
                gradient.look(None, place)  # the step has cleared it itself
            else:
                gradient.remember(grad)
        if not self._sentinels:
            for gradient in self._all[:_SAMPLED]:
                gradient.take_sample()

    def _choose(self) -> None:
        """Let the first and the last used gradient of the optimizer stand for all."""
        used = [gradient for gradient in self._all if gradient.track.state.name == "spent"]
        if used and len(self._all) > _SAMPLED:
            self._full_again = self.steps + _EVERY
            self._sentinels = [used[0], used[-1]]

    def _look_at_all(self, place: Location) -> None:
        """Look at every parameter for some steps; those not seen lately are as the step at `place` leaves them.

        The one that stood for all goes to the end, but for the last: another pair comes next, and its first is known by now.
        """
        lately, self._sentinels = self._sentinels, []
        self._all.remove(lately[0])
        self._all.insert(-1, lately[0])
        self._full_until = self.steps + _FULL_AGAIN
        self.refresh()
        for gradient in self._all:
            if gradient not in lately:
                gradient.restart(place)

    def empty_step(self, violation: Violation, name: str) -> None:
        """Remember a step that had nothing to apply; `conclude` decides whether that was the rule or an exception."""
        empty = EmptySteps(violation, name, self.steps, by_hand=self._is_by_hand(violation))
        if self._empty is None:
            self._empty = empty
        elif self._empty.code == "GL104" and empty.code == "GL117":  # they were written from the beginning, unseen
            self._empty.explain(empty)
        self._empty.count += 1

    def _is_by_hand(self, violation: Violation) -> bool:
        """Tell whether no backward pass has computed the gradients that were thrown away."""
        fresh = violation.before.mark("fresh")
        return fresh is not None and fresh not in self.feeds.values()

    def conclude(self, ledger: Ledger) -> None:
        """Report empty steps, if most steps since the first one were empty."""
        empty = self._empty
        if empty is None or self.explained or empty.count < empty.needed or 2 * empty.count <= self.steps - empty.first:
            return
        ledger.report(
            empty.code, empty.place, empty.marks, count=empty.count, iteration=empty.first, subject=empty.name
        )


class EmptySteps:
    """Steps of one optimizer without gradients: a warm-up or a skipped batch if they are few."""

    def __init__(self, violation: Violation, name: str, first: int, *, by_hand: bool) -> None:
        self.code, self.place, self.marks = violation.code, violation.place, violation.before.marks
        self.name = name
        self.first = first
        self.count = 0
        if by_hand:  # where they were written nobody saw
            self.code, self.marks = "GL117", tuple(mark for mark in self.marks if mark[0] != "fresh")

    def explain(self, better: EmptySteps) -> None:
        """Take the words of a later step."""
        self.code, self.place, self.marks = better.code, better.place, better.marks

    @property
    def needed(self) -> int:
        """How many it takes: one gradient thrown away is a mistake, one step without any is a known warm-up trick."""
        return 2 if self.code == "GL104" else 1


def is_lbfgs(optimizer: object) -> bool:
    """Tell whether an optimizer evaluates its closure several times in a step, and stays where it is when that is best."""
    return type(optimizer).__module__ == "torch.optim.lbfgs"
