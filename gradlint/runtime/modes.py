"""Training and evaluation mode: what runs between `eval()` and the next `train()`.

Knows modules and optimizers by what they offer; must not know how torch is hooked.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.runtime.evaluated import Evaluation, WatchedModule
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.optimizers import WatchedOptimizer
from gradlint.runtime.registry import Registry
from gradlint.runtime.reuse import Begun
from gradlint.runtime.sensitivity import lapsed
from gradlint.runtime.sites import name_of, place_of, text_at, user_frame
from gradlint.typestate import State
from gradlint.wordings.modes import AFTER_EVALUATION, AS_RETURNED, BUILDS, EVALUATING, IS_OFF

if TYPE_CHECKING:
    from torch.nn import Module

_TRAINED = 2
_PASS = 2  # forwards that make an evaluation
_LOOKS = 8
_ALIKE = 3  # evaluations of one forward each, such as those of a whole graph, that make one, too


class Modes:
    """The modules of the run whose mode is changed."""

    def __init__(self, ledger: Ledger, registry: Registry) -> None:
        self._ledger = ledger
        self._registry = registry
        self._watched: dict[int, WatchedModule] = {}
        self._unjudged: list[tuple[WatchedModule, Evaluation]] = []
        self._evaluating: list[WatchedModule] = []
        self._told: dict[int, Begun | None] = {}
        self._unmeasured: set[int] = set()  # who was put into evaluation mode, and not called without gradients since

    @property
    def evaluating(self) -> bool:
        """Tell whether some module is in evaluation mode."""
        return bool(self._evaluating)

    @property
    def states(self) -> list[State]:
        """What is known of the modules in evaluation mode that optimizers hold; nothing new of a loop that leaves it as it is."""
        return [watched.track.state for watched in self._evaluating if watched.owners]

    def told(self, module: Module, before: Begun | None) -> None:
        """`module.train()` was called; `before` is the last backward pass until then."""
        self._told[id(module)] = before

    def told_to_train(self, module: Module, before: Begun | None) -> bool:
        """Tell whether `module.train()` was called after a backward pass, and so before any other."""
        return id(module) in self._told and self._told[id(module)] is before

    def is_routine(self, module: Module, was: bool) -> bool:
        """Tell whether `module.train()` changed nothing: many loops call it in every iteration."""
        watched = self._watched.get(id(module))
        return was and module.training and (watched is None or watched.evaluation is None)

    def changed(
        self, module: Module, was: bool, place: Location, frame: FrameType | None, clock: int, *, measures: bool
    ) -> None:
        """`module` was put into the mode that it is in; `clock` is the number of the next graph node.

        `measures`: gradients are off.
        """
        watched = self._watched.get(id(module))
        owners = self._registry.owners_of(module)
        if watched is None or watched.module() is not module:
            watched = self._watched[id(module)] = WatchedModule(module, owners, was, name_of(module, frame))
        watched.owners = owners
        if was and watched.evaluation is not None:  # what is around it was put back, and it with it
            self._close(watched, clock)
            watched.track.advance(EventKind.TRAIN, place)
        if watched.track.state.name == "train" and any(owner.steps for owner in owners):
            watched.track.advance(EventKind.STEP, place)
        if module.training:
            self._close(watched, clock)
            watched.track.advance(EventKind.TRAIN, place)
        elif watched.evaluation is None:
            watched.track.advance(EventKind.EVAL, place)
            training = {key: feed for owner in owners for key, feed in owner.feeds.items()}
            steps = sum(owner.steps for owner in owners)
            evaluation = Evaluation(place, clock, training=training, measures=was and measures, steps=steps)
            evaluation.returned = was and not steps and not _says_so(place)
            evaluation.optimizers = frozenset(map(id, self._registry))
            watched.evaluation = evaluation
            self._evaluating.append(watched)
            self._unmeasured.add(id(module))
        elif watched.evaluation.place is place and (watched.evaluation.measures or watched.is_left_behind):
            self._trained_meanwhile(watched, watched.evaluation, AFTER_EVALUATION)
        elif watched.evaluation.returned and _says_so(place):
            watched.name = name_of(module, frame)
            self._trained_meanwhile(watched, watched.evaluation, AS_RETURNED)
            watched.evaluation.returned = False  # whoever does so before the training has chosen the mode

    def _trained_meanwhile(self, watched: WatchedModule, evaluation: Evaluation, when: str) -> None:
        """GL304: what is put into evaluation mode to be measured was in it already, and has been trained in it since.

        It had been measured before it was trained, or a library returned it so.
        """
        module = watched.module()
        trained = sum(owner.steps for owner in watched.owners) >= evaluation.steps + _TRAINED
        if module is None or not trained or not lapsed(module):
            return
        for owner in watched.owners:
            if owner.last_step is not None and (self._whole_in_evaluation(owner) or watched.is_left_behind):
                evaluation.measures = False
                marks = (("pretrained" if when is AS_RETURNED else "eval", evaluation.place),)
                self._ledger.report(
                    "GL304",
                    owner.last_step,
                    marks,
                    iteration=owner.steps,
                    subject=watched.name,
                    when=when,
                    effect=IS_OFF,
                )
                return

    def _close(self, watched: WatchedModule, clock: int) -> None:
        evaluation, watched.evaluation = watched.evaluation, None
        self._evaluating = [each for each in self._evaluating if each is not watched and each.module() is not None]
        if evaluation is not None and not evaluation.used and self._is_pass(watched, evaluation):
            evaluation.ended = clock
            self._unjudged.append((watched, evaluation))

    def _is_pass(self, watched: WatchedModule, evaluation: Evaluation) -> bool:
        """Tell whether the forwards of an evaluation are no mere look at the model."""
        if evaluation.forwards == 1:
            watched.single[id(evaluation.forward)] += 1
            return watched.single[id(evaluation.forward)] >= _ALIKE
        return evaluation.forwards >= _PASS

    @property
    def wants_forwards(self) -> bool:
        """Tell whether the next forwards matter: two of one evaluation make a pass, and who measures does so all along."""
        found = (each.evaluation for each in self._evaluating)
        return any(each is not None and each.forwards < _PASS and each.looks < _LOOKS for each in found)

    def looked_at(self, module: Module) -> None:
        """`module` is called with gradients off."""
        self._unmeasured.discard(id(module))
        watched = self._watched.get(id(module))
        if watched is not None and watched.evaluation is not None:
            watched.evaluation.looks += 1

    def forward(self, module: Module, frame: FrameType) -> None:
        """`module` is called with gradients enabled."""
        watched, place = self._watched.get(id(module)), None
        if watched is None or watched.evaluation is None or watched.module() is not module:
            parts = ((each, each.called_in_part(module, frame)) for each in self._evaluating)
            watched, place = next((found for found in parts if found[1] is not None), (None, None))
        if watched is None or watched.evaluation is None or module.training:
            return
        if not any(parameter.requires_grad for parameter in module.parameters()):
            return
        place = place or place_of(user_frame(frame))
        watched.evaluation.forwards += 1
        watched.evaluation.forward = watched.evaluation.forward or place
        watched.track.advance(EventKind.FORWARD, place)

    @property
    def unjudged(self) -> list[tuple[int, int]]:
        """The graph nodes (from, to) of ended evaluations that a later backward pass may still want."""
        return [(evaluation.began, evaluation.ended) for _, evaluation in self._unjudged]

    def judge(self, wanted: set[int]) -> None:
        """Report the ended evaluations whose graphs nobody wants; `wanted` are the nodes of the next backward pass."""
        unjudged, self._unjudged = self._unjudged, []
        for watched, evaluation in unjudged:
            if not any(evaluation.began <= node < evaluation.ended for node in wanted) and evaluation.forward:
                eval_mark = ("eval", evaluation.place)
                self._ledger.report("GL302", evaluation.forward, (eval_mark,), subject=watched.name, effect=BUILDS)

    def differentiated(self) -> None:
        """`autograd.grad` ran: an evaluation that uses it needs its graphs."""
        for watched in self._evaluating:
            self._use(watched)

    def _use(self, watched: WatchedModule) -> None:
        """Some backward pass has run since the evaluation began: see whether the module was measured before."""
        module, evaluation = watched.module(), watched.evaluation
        if evaluation is not None and not evaluation.used:
            evaluation.used = True
            evaluation.measured = module is not None and id(module) not in self._unmeasured

    def restored(self, place: Location, clock: int) -> None:
        """Close the evaluations of modules that are in training mode again: what is around them was put back, or the attribute set."""
        for watched in self._evaluating:
            module = watched.module()
            if module is not None and module.training:
                self._close(watched, clock)
                watched.track.advance(EventKind.TRAIN, place)

    def backward(self, fed: list[WatchedOptimizer], place: Location, is_foreign: Callable[[], bool]) -> None:
        """A backward pass at `place` fed some optimizers; ask `is_foreign` whether for something else than training them."""
        for watched in self._evaluating:
            evaluation = watched.evaluation
            if evaluation is None:
                continue
            self._use(watched)
            if not watched.was_trained or not any(owner in fed for owner in watched.owners):
                continue
            if id(place) in evaluation.training:
                # What was called first was the training, if a measurement came before it.
                forward = evaluation.forward if evaluation.measured else None
                watched.track.advance(EventKind.FORWARD, forward or place)
                watched.track.advance(EventKind.BACKWARD, place)
                continue
            aside = any(self._is_made_for(evaluation, optimizer) for optimizer in fed)
            whole = watched.is_whole and any(map(self._whole_in_evaluation, watched.owners))
            if whole and not aside and not is_foreign():
                self._validation_trains(watched, evaluation, place)

    def _is_made_for(self, evaluation: Evaluation, optimizer: WatchedOptimizer) -> bool:
        """Tell whether an optimizer was built during an evaluation, for something else: a code is fitted to the model."""
        return id(optimizer) not in evaluation.optimizers and not self._whole_in_evaluation(optimizer)

    def _validation_trains(self, watched: WatchedModule, evaluation: Evaluation, place: Location) -> None:
        training = next(iter(evaluation.training.values()), place)
        marks = (("eval", evaluation.place), ("training", training))
        what = text_at(place) or "backward()"
        for owner in watched.owners:
            owner.feeds.pop(id(place), None)
        self._ledger.report("GL301", place, marks, where=EVALUATING.format(watched.name), what=what)

    def stepped(self, optimizer: WatchedOptimizer, place: Location) -> None:
        """`optimizer` stepped at `place`."""
        violations = []
        for watched in self._evaluating:
            violation = watched.track.advance(EventKind.STEP, place) if optimizer in watched.owners else None
            module = watched.module()
            if violation is not None and module is not None and lapsed(module):
                violations.append((watched.name, violation))
        if violations and self._whole_in_evaluation(optimizer):
            name, violation = violations[0]
            marks = violation.before.marks
            self._ledger.report(
                violation.code,
                place,
                marks,
                iteration=optimizer.steps,
                subject=name,
                when=AFTER_EVALUATION,
                effect=IS_OFF,
            )

    def _whole_in_evaluation(self, optimizer: WatchedOptimizer) -> bool:
        """Tell whether all that an optimizer trains is in evaluation mode: a part of it may be frozen on purpose."""
        modules = [watched.module() for watched in self._evaluating]
        frozen = {id(each) for module in modules if module is not None for each in module.parameters()}
        return all(id(parameter) in frozen for parameter in optimizer.parameters())

    def ended(self, clock: int) -> None:
        """The run is over."""
        for watched in self._watched.values():
            self._close(watched, clock)
        self.judge(set())


def _says_so(place: Location) -> bool:
    """Tell whether it is the user who sets the mode at a place, and not what he calls there."""
    text = text_at(place)
    return ".eval(" in text or ".train(" in text
