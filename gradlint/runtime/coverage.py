"""Who trains what: optimizers that hold only frozen parameters, parameters that nobody trains, gradients nobody uses.

All is decided when the run is over, for training may begin late. Knows graphs and optimizers; must not know how torch is
hooked.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

from gradlint.diagnostics import Location
from gradlint.runtime.answers import Answer, can_be_asked
from gradlint.runtime.bytecode import calls_reader_of_gradients, reads_gradients
from gradlint.runtime.gradients import few_of, is_bound, version_of
from gradlint.runtime.graph import is_parameter, leaves
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.observers import Observer, Pass
from gradlint.runtime.optimizers import WatchedOptimizer
from gradlint.runtime.outgrown import Outgrown, outgrown
from gradlint.runtime.registry import Registry
from gradlint.runtime.sites import name_of

if TYPE_CHECKING:
    from torch.nn import Module
    from torch.optim import Optimizer

_WALKS = 4
_NODES = 20_000
_STEPS = 3
_PASSES = 4


@dataclass(slots=True)
class _Seen:
    """What is known of one optimizer."""

    watched: WatchedOptimizer
    name: str = "optimizer"
    first_step: Location | None = None
    holds: bool = False  # it had parameters at a step
    trains: bool = False  # some parameter of it required gradients at a step
    passes: int = 0
    sample: Any = None  # values of its first parameter, at the last pass
    used: bool = False  # somebody else steps on its parameters
    moves: list[Answer] = field(default_factory=list)  # whether somebody moves them, after each of the first passes
    read: bool = False  # somebody may look at their gradients
    clipped: int = 0  # passes behind which they were clipped, for an update that does not come
    cleared: int = 0
    alone: int = 0  # passes that fed no other optimizer
    emptied: int = 0  # how often its module was cleared instead
    fresh: Location | None = None
    outgrown: Outgrown | None = None
    beside: bool = False  # while it stepped in vain, parameters that nobody holds were trained


class Coverage(Observer):
    """The parameters that are reached by gradients, and the optimizers that should hold them."""

    def __init__(self, ledger: Ledger, registry: Registry, interrupted: Callable[[], bool]) -> None:
        self._ledger = ledger
        self._registry = registry
        self._interrupted = interrupted
        self._seen: dict[WatchedOptimizer, _Seen] = {}
        self._reached: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._held: set[int] = set()
        self._walks = 0

    def made(self, watched: WatchedOptimizer, place: Location) -> None:
        """An optimizer was built: it is asked for parameters while it lives."""
        self._of(watched)
        self._hold(watched)

    def before_backward(self, passing: Pass) -> None:
        """Note the parameters that the first graphs reach."""
        if self._walks < _WALKS and passing.accumulates:
            self._walks += 1
            for tensor in leaves(passing.roots, _NODES):
                if is_parameter(tensor):
                    self._reached.setdefault(id(tensor), (weakref.ref(tensor), version_of(tensor)))

    def after_backward(self, passing: Pass, fed: Sequence[WatchedOptimizer]) -> None:
        """Count the passes that feed an optimizer whose parameters nobody moves."""
        for watched in fed:
            seen = self._of(watched)
            if seen.first_step is None:
                self._never_stepped_yet(seen, passing)
            seen.passes += 1
            seen.alone += watched.fed_alone

    def _never_stepped_yet(self, seen: _Seen, passing: Pass) -> None:
        """See whether somebody else than its optimizer has a use for the gradients."""
        first = next(seen.watched.parameters(), None) if seen.passes < _PASSES else None
        few = None if first is None else few_of(first)
        if few is not None and can_be_asked(few):
            before, seen.sample = seen.sample, few.clone()
            if before is not None:
                seen.moves.append(Answer((before != seen.sample).any()))
        seen.fresh = seen.fresh or passing.place
        seen.name = name_of(seen.watched.optimizer, passing.frame)
        seen.read = seen.read or reads_gradients(passing.frame) or calls_reader_of_gradients(passing.frame)

    def clipping(self, parameters: Sequence[Any], max_norm: Any, place: Location, frame: FrameType | None) -> None:
        """Some gradients are about to be clipped: only an update wants that."""
        if not is_bound(max_norm):
            return
        clipped = {id(parameter) for parameter in parameters}
        for seen in self._seen.values():
            if seen.first_step is None and any(id(each) in clipped for each in seen.watched.parameters()):
                seen.clipped += 1

    def before_zero(self, owner: Optimizer | Module, place: Location) -> None:
        """Count how often an optimizer itself is cleared: who wants to look at gradients clears the model."""
        if hasattr(owner, "param_groups"):
            self._of(self._registry.of(cast("Optimizer", owner))).cleared += 1
        elif any(seen.first_step is None and seen.emptied < _PASSES for seen in self._seen.values()):
            for watched in self._registry.owners_of(cast("Module", owner)):
                self._of(watched).emptied += 1

    def before_step(self, watched: WatchedOptimizer, place: Location, frame: FrameType | None) -> None:
        """Note who steps, and whether it can change anything."""
        seen = self._of(watched)
        if seen.first_step is None:
            for other in self._seen.values():
                other.used = other.used or self._registry.sharing(other.watched, watched)
            self._hold(watched)
            seen.first_step, seen.name = place, name_of(watched.optimizer, frame)
            self._walks = min(self._walks, _WALKS - 1)
        elif seen.watched.steps == _STEPS - 1 and (strays := self._strays()):
            if not seen.passes:
                seen.beside = all(parameter.grad is None for parameter in watched.parameters())
            else:
                seen.outgrown = outgrown(watched, strays, frame)
        elif seen.outgrown is not None and not self._is_outgrown(seen.outgrown):
            seen.outgrown = None
        seen.holds = seen.holds or next(watched.parameters(), None) is not None
        seen.trains = seen.trains or any(each.requires_grad or each.grad is not None for each in watched.parameters())

    def ended(self) -> None:
        """Judge every optimizer by the whole run."""
        for seen in self._seen.values():
            if seen.first_step is None:
                self._never_stepped(seen)
            elif seen.holds and not seen.trains:
                marks = (("built", seen.watched.built),) if seen.watched.built is not None else ()
                what = "they are all frozen (`requires_grad` is False)"
                self._ledger.report("GL801", seen.first_step, marks, subject=seen.name, what=what)
                seen.watched.explained = True
            elif seen.beside and not seen.passes:
                what = f"`{seen.name}` holds parameters that no backward pass reaches, and nobody holds the ones that are trained"
                self._ledger.report("GL806", seen.first_step, what=what)
                seen.watched.explained = True
            elif seen.outgrown is not None and self._is_outgrown(seen.outgrown):
                marks = (("built", seen.watched.built),) if seen.watched.built is not None else ()
                self._ledger.report("GL806", seen.first_step, marks, what=seen.outgrown.told(seen.name))

    def _never_stepped(self, seen: _Seen) -> None:
        """GL106: gradients came again and again, the run went on to its end, and nobody ever used them."""
        often = min(seen.passes, seen.cleared) >= _PASSES
        if min(seen.alone, seen.emptied) >= _PASSES:  # a part of a training, whose other parts are stepped
            often = often or any(other.watched.steps >= _PASSES for other in self._seen.values())
        used = seen.used or seen.watched.tries > 0 or (seen.read and seen.clipped < _PASSES)
        if not often or seen.fresh is None or used or self._interrupted():
            return
        if not any(moved.read() for moved in seen.moves):
            self._ledger.report("GL106", seen.fresh, subject=seen.name, done="computed in a loop")

    def _strays(self) -> list[Any]:
        """Return the parameters that gradients reach, but that no optimizer ever held and nobody has changed."""
        known = [(key, reached(), version) for key, (reached, version) in self._reached.items()]
        return [each for key, each, version in known if each is not None and self._is_stray(key, each, version)]

    def _is_stray(self, key: int, parameter: Any, version: int) -> bool:
        return key not in self._held and version_of(parameter) == version

    def _is_outgrown(self, outgrown: Outgrown) -> bool:
        """Tell whether nobody has trained the new parameters meanwhile, or computed a gradient for the old ones."""
        strays, new = {id(each) for each in self._strays()}, [each() for each in outgrown.new]
        old = [each() for each in outgrown.old]
        return all(each is None or id(each) in strays for each in new) and all(
            each is None or each.grad is None for each in old
        )

    def _hold(self, watched: WatchedOptimizer) -> None:
        self._held |= {id(parameter) for parameter in watched.parameters()}

    def _of(self, watched: WatchedOptimizer) -> _Seen:
        return self._seen.setdefault(watched, _Seen(watched))
