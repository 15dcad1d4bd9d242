"""Which optimizers there are, and what each event does to all of them.

Knows optimizers; must not know rules or torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.optimizers import WatchedOptimizer

if TYPE_CHECKING:
    from torch.nn import Module
    from torch.optim import Optimizer


class Registry:
    """The optimizers of the run."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._watched: dict[int, WatchedOptimizer] = {}
        self._steps_of_the_dead = 0
        self.epochs = 0
        """How many passes over one loader were trained on, if it is known."""

    @property
    def steps(self) -> int:
        """How many steps all optimizers have taken."""
        return self._steps_of_the_dead + sum(watched.steps for watched in self)

    def __iter__(self) -> Iterator[WatchedOptimizer]:
        return iter(list(self._watched.values()))

    def of(self, optimizer: Optimizer) -> WatchedOptimizer:
        """Return what is known about `optimizer`, from now on if nothing was."""
        watched = self._watched.get(id(optimizer))
        if watched is None or watched.optimizer is not optimizer:
            self._forget_the_dead()
            watched = self._watched[id(optimizer)] = WatchedOptimizer(optimizer)
        return watched

    def _forget_the_dead(self) -> None:
        for key, watched in list(self._watched.items()):
            if watched.optimizer is None:
                watched.conclude(self._ledger)
                self._steps_of_the_dead += watched.steps
                del self._watched[key]

    def owners_of(self, module: Module) -> list[WatchedOptimizer]:
        """Return the optimizers that hold a parameter of `module`."""
        parameters = {id(parameter) for parameter in module.parameters()}
        return [watched for watched in self if any(id(parameter) in parameters for parameter in watched.parameters())]

    def cleared_by(self, owner: Optimizer | Module) -> list[WatchedOptimizer]:
        """Return the optimizers that `owner.zero_grad()` is about: itself, or those that hold a parameter of a module."""
        if hasattr(owner, "param_groups"):
            return [self.of(cast("Optimizer", owner))]
        return self.owners_of(cast("Module", owner))

    def sharing(self, first: WatchedOptimizer, second: WatchedOptimizer) -> bool:
        """Tell whether two optimizers are one for the user: a wrapper and what it wraps hold the same parameters."""
        one, other = next(first.parameters(), None), next(second.parameters(), None)
        return first is second or (one is not None and one is other)

    def wraps(self, outer: WatchedOptimizer, inner: WatchedOptimizer) -> bool:
        """Tell whether an optimizer that steps inside of another one's step is what that one wraps, or a part of it."""
        first = next(inner.parameters(), None)
        return outer is inner or (first is not None and any(each is first for each in outer.parameters()))

    def unused(self, watched: WatchedOptimizer) -> bool:
        """Tell whether the last backward pass fed `watched` alone, and nobody has stepped on those gradients.

        Two optimizers may train the same parameters in turn, Adam before LBFGS; a wrapper never steps on its own.
        """
        twins = (other for other in self if other is not watched and self.sharing(watched, other))
        return watched.fed_alone and all(other.fresh_place() is not None for other in twins)

    def before_backward(self, place: Location, *, in_closure: bool) -> None:
        """Catch up with what users did to gradients since the last event."""
        suspects = ("spent", "dirty", "fresh") if in_closure else ("spent", "dirty")
        for watched in self._watched.values():
            for gradient in watched.gradients:
                gradient.look(None, place)
                gradient.look_for_hidden_zero(place, suspects)

    def after_backward(self, place: Location) -> list[WatchedOptimizer]:
        """Advance every gradient that a backward pass has changed; return the optimizers that were fed."""
        fed = []
        for watched in self._watched.values():
            before = [gradient.track.state.name for gradient in watched.gradients]
            changed = [gradient.look(EventKind.BACKWARD, place) for gradient in watched.gradients]
            if any(changed):
                watched.fed(place, accumulated=any(c and b in _HOLDING for c, b in zip(changed, before, strict=True)))
                fed.append(watched)
        for watched in () if fed else self._watched.values():
            watched.escape_elsewhere(place)
        for watched in fed:
            watched.fed_alone = all(self.sharing(watched, other) for other in fed if other.optimizer is not None)
        return fed

    def zeroed(self, owner: Optimizer | Module, place: Location) -> None:
        """Advance every gradient that was cleared: those of `owner`, and of whoever shares its parameters."""
        own = self.of(cast("Optimizer", owner)) if hasattr(owner, "param_groups") else None
        for watched in self._watched.values():
            for gradient in watched.gradients:
                if watched is own:
                    gradient.come_here(place)
                changed = gradient.look(EventKind.ZERO, place)
                if watched is own and not changed:
                    gradient.track.advance(EventKind.ZERO, place)


_HOLDING = frozenset({"fresh", "unknown-fresh", "dirty", "spent"})
