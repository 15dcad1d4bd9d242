"""Gradient scalers and clipping: in which scale gradients are when they are clipped, unscaled and stepped on.

Knows scalers and optimizers by what they offer; must not know torch.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.protocols import SCALING
from gradlint.runtime.gradients import is_bound
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.observers import Observer, Pass
from gradlint.runtime.optimizers import WatchedOptimizer
from gradlint.runtime.registry import Registry
from gradlint.runtime.sites import NOWHERE, name_of
from gradlint.runtime.tracks import Track
from gradlint.typestate import State, Violation

if TYPE_CHECKING:
    from torch.nn import Module
    from torch.optim import Optimizer

_OUTSTANDING = 16


@dataclass(slots=True)
class _Pair:
    """One scaler and one optimizer, and in which versions the last backward pass left the gradients."""

    scaler: weakref.ref[Any]
    watched: WatchedOptimizer
    track: Track = field(default_factory=lambda: Track(SCALING, State("unknown")))
    versions: list[int] | None = None
    held: Violation | None = None  # told when the scaler steps: torch may raise before, or nobody ask the scaler

    def is_of(self, scaler: Any, optimizer: Any = None) -> bool:
        return self.scaler() is scaler and (optimizer is None or self.watched.optimizer is optimizer)


class Scaling(Observer):
    """The gradient scalers of the run, and the clipping."""

    def __init__(self, ledger: Ledger, registry: Registry) -> None:
        self._ledger = ledger
        self._registry = registry
        self._pairs: list[_Pair] = []
        self._losses: deque[tuple[weakref.ref[Any], weakref.ref[Any]]] = deque(maxlen=_OUTSTANDING)
        self._trying: WatchedOptimizer | None = None
        self._in_vain = False  # the last backward pass has reached nobody: that is the mistake

    def forget(self) -> None:
        """Something happened unseen: what is known of the scales is out of date."""
        for pair in self._pairs:
            pair.track.advance(EventKind.ESCAPE, NOWHERE)
        self._losses.clear()

    def scaled(self, scaler: Any, losses: Any) -> None:
        """A scaler has multiplied losses, which these are."""
        if scaler.is_enabled():
            every = losses if isinstance(losses, Iterable) and not hasattr(losses, "grad_fn") else (losses,)
            self._losses.extend((weakref.ref(loss), weakref.ref(scaler)) for loss in every if hasattr(loss, "grad_fn"))

    def has_scaled(self, loss: Any) -> bool:
        """Tell whether a scaler has just made this loss of another one."""
        return any(each() is loss for each, _ in self._losses)

    def after_backward(self, passing: Pass, fed: Sequence[WatchedOptimizer]) -> None:
        """Tell the scalers' optimizers in which scale their gradients are now."""
        scalers = {id(scaler()): scaler() for loss, scaler in self._losses if _is_among(loss(), passing.roots)}
        for watched in fed:
            for _, scaler in self._losses:
                self._pair(scaler(), watched)
            for pair in [each for each in self._pairs if each.watched is watched]:
                if id(pair.scaler()) in scalers:
                    pair.held = pair.track.advance(EventKind.SCALE, passing.place) or pair.held
                else:
                    self._move(pair, EventKind.SETGRAD if self._losses else EventKind.BACKWARD, passing.place)
                pair.versions = watched.versions(absent=0)
        self._in_vain = not fed
        if fed:
            self._losses.clear()

    def before_zero(self, owner: Optimizer | Module, place: Location) -> None:
        """Take the gradients of `owner` as cleared."""
        cleared = self._registry.cleared_by(owner)
        for pair in self._pairs:
            if pair.watched in cleared:
                self._move(pair, EventKind.ZERO, place)

    def divided(self, scaler: Any, optimizer: Optimizer, place: Location, frame: FrameType | None) -> None:
        """The user lets `scaler` divide the gradients of `optimizer`; torch raises if it has done so before."""
        for pair in self._of(scaler, optimizer):
            violation = pair.track.advance(EventKind.UNSCALE, place)
            stepped = violation.before.mark("stepped") if violation is not None and violation.code == "GL605" else None
            if stepped is not None:  # torch raises RuntimeError now
                self._ledger.report("GL605", stepped, iteration=pair.watched.steps, scaler=name_of(scaler, frame))

    def updated(self, scaler: Any) -> None:
        """`scaler` chose its next scale."""
        for pair in self._of(scaler):
            pair.track.advance(EventKind.UPDATE, NOWHERE)

    def tried(self, scaler: Any, optimizer: Optimizer, place: Location, frame: FrameType | None) -> None:
        """`scaler` will step `optimizer`, or skip the step."""
        self._trying = self._registry.of(optimizer)
        if scaler.is_enabled():
            fresh = self._trying.fresh_place()
            if not any(self._of(scaler, optimizer)) and fresh is not None:
                self._pair(scaler, self._trying)
                self._pairs[-1].track.advance(EventKind.BACKWARD, fresh)
            for pair in self._of(scaler, optimizer):
                held, pair.held = pair.held, None
                if held is not None:
                    self._violated(pair, held, frame)
                self._move(pair, EventKind.SCALED_STEP, place, frame)

    def before_step(self, watched: WatchedOptimizer, place: Location, frame: FrameType | None) -> None:
        """Judge a step that no scaler has asked for."""
        trying, self._trying = self._trying, None
        if trying is not None and self._registry.sharing(trying, watched):
            return
        for pair in [each for each in self._pairs if each.watched is watched]:
            self._excuse(pair)
            pair.held = None
            self._move(pair, EventKind.STEP, place, frame)

    def clipping(self, parameters: Sequence[Any], max_norm: Any, place: Location, frame: FrameType | None) -> None:
        """The gradients of `parameters` are about to be clipped."""
        if not is_bound(max_norm):
            return
        clipped = {id(parameter) for parameter in parameters}
        owners = [each for each in self._registry if any(id(parameter) in clipped for parameter in each.parameters())]
        self._misplaced(owners, clipped, place, frame)
        for pair in [each for each in self._pairs if each.watched in owners]:
            self._excuse(pair)
            pair.versions, pair.held = None, pair.track.advance(EventKind.CLIP, place) or pair.held

    def _misplaced(
        self, owners: Sequence[WatchedOptimizer], clipped: set[int], place: Location, frame: FrameType | None
    ) -> None:
        """GL602: gradients that were used up, or are not there yet, are clipped, and no others with them."""
        states = {}
        for watched in owners:
            watched.changed_by_hand(place)
            states[watched] = [each.track.state for each in watched.gradients if id(each.parameter) in clipped]
        # Whoever clips a model for one of its optimizers does not mean what the others have left.
        if not {state.name for found in states.values() for state in found} <= {"spent", "new", "clean"}:
            return
        for watched, found in states.items():
            self._too_late(watched, found, place, frame)

    def _too_late(
        self, watched: WatchedOptimizer, states: Sequence[State], place: Location, frame: FrameType | None
    ) -> None:
        names = {state.name for state in states}
        subject = name_of(watched.optimizer, frame)
        if names == {"spent"}:
            what = f"these gradients are clipped after `{subject}` has used them: no update is bounded"
        elif names and names <= {"new", "clean"} and watched.steps and not self._in_vain:
            what = "gradients are clipped before any backward pass has computed them: no update is bounded"
        else:
            return
        when = f"between `backward()` and `{subject}.step()`"
        self._ledger.report("GL602", place, states[0].marks, iteration=watched.steps, what=what, when=when)

    def _excuse(self, pair: _Pair) -> None:
        """Judge no gradients that somebody has changed since the backward pass, perhaps by the scale."""
        if pair.versions is not None and pair.versions != pair.watched.versions(absent=0):
            pair.track.advance(EventKind.EDIT, NOWHERE)

    def _of(self, scaler: Any, optimizer: Any = None) -> Iterator[_Pair]:
        return (pair for pair in self._pairs if pair.is_of(scaler, optimizer))

    def _pair(self, scaler: Any, watched: WatchedOptimizer) -> None:
        self._pairs = [pair for pair in self._pairs if pair.scaler() is not None and pair.watched.optimizer is not None]
        if scaler is not None and not any(self._of(scaler, watched.optimizer)):
            self._pairs.append(_Pair(weakref.ref(scaler), watched, Track(SCALING)))

    def _move(self, pair: _Pair, kind: EventKind, place: Location, frame: FrameType | None = None) -> None:
        violation = pair.track.advance(kind, place)
        if violation is not None:
            self._violated(pair, violation, frame)

    def _violated(self, pair: _Pair, violation: Violation, frame: FrameType | None) -> None:
        subject, scaler = name_of(pair.watched.optimizer, frame), name_of(pair.scaler(), frame)
        what, remedy = _bypassed(violation.before.name, subject, scaler)
        self._ledger.report(
            violation.code,
            violation.place,
            violation.before.marks,
            iteration=pair.watched.steps + 1,
            subject=subject,
            scaler=scaler,
            what=what,
            remedy=remedy,
        )


def _bypassed(state: str, subject: str, scaler: str) -> tuple[str, str]:
    """Return what GL604 says of gradients in the wrong scale (scaled without the scaler, or the reverse), and the remedy."""
    if state == "scaled":
        return (
            f"`{subject}` steps on gradients that are still multiplied by the scale: `{scaler}` is bypassed",
            f"step through the scaler: `{scaler}.step({subject})`, then `{scaler}.update()`",
        )
    return (
        f"`{scaler}` divides gradients by a scale that they were never multiplied by",
        f"scale the loss: `{scaler}.scale(loss).backward()`",
    )


def _is_among(loss: Any, roots: Sequence[Any]) -> bool:
    return loss is not None and any(root is loss for root in roots)
