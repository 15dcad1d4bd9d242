"""The listener of a watched run: turns torch's events into moves of the automata, and violations into findings.

Knows everything of this package but how torch is hooked.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import islice
from types import FrameType
from typing import TYPE_CHECKING, Any

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.runtime.bytecode import calls_reader_of_gradients, reads_gradients
from gradlint.runtime.closures import can_be_replaced, closure_call, closure_in
from gradlint.runtime.graph import clock, heads, leaves, nodes
from gradlint.runtime.guard import guarded
from gradlint.runtime.observers import Pass
from gradlint.runtime.optimizers import is_lbfgs
from gradlint.runtime.sites import name_of, place_of, shadows_others, still_running, user_frame
from gradlint.runtime.steady import call_of
from gradlint.runtime.steps import Step, with_closure
from gradlint.runtime.surroundings import Surroundings

if TYPE_CHECKING:
    from torch.nn import Module
    from torch.optim import Optimizer

    from gradlint.runtime.listening import Arguments

_NODES = 20_000


class Monitor(Surroundings):
    """Listens to one run; `ledger` has the findings."""

    @guarded
    def optimizer_made(self, optimizer: Optimizer, frame: FrameType | None) -> None:
        """An optimizer exists; it was built just now, or before the watching began (no frame)."""
        self._unsettle()
        watched = self.registry.of(optimizer)
        if frame is not None:
            place = watched.built = place_of(user_frame(frame))
            for hear in self._audience.made:
                hear(watched, place)

    @guarded
    def before_backward(self, roots: Sequence[Any], accumulates: bool, retains: bool, frame: FrameType) -> None:
        """A backward pass starts (`accumulates`: into `.grad`; `retains`: it keeps the graph, and makes no new one)."""
        caller = user_frame(frame)
        passing = self._thread.passing = Pass(roots, place_of(caller), caller, accumulates, retains)
        self._failures.passes.append((passing.place, clock()))
        if self.modes.unjudged:
            self.modes.judge({node._sequence_nr() for node in islice(nodes(heads(roots)), _NODES)})
        if accumulates:
            in_closure = any(step.closure for step in self._thread.steps)
            self.registry.before_backward(passing.place, in_closure=in_closure)
        for hear in self._audience.before_backward:
            hear(passing)

    @guarded
    def after_backward(self, roots: Sequence[Any], error: BaseException | None, frame: FrameType) -> None:
        """It ended, perhaps by raising `error`."""
        passing, self._thread.passing = self._thread.passing, None
        if passing is None:
            caller = user_frame(frame)
            passing = Pass(roots, place_of(caller), caller)
        self._backward_ended(passing, error)
        self.rhythm.note(call_of(frame), passing.place)

    def _backward_ended(self, passing: Pass, error: BaseException | None) -> None:
        if error is not None:
            self._unsettle()
            self._failures.failed(error, passing.roots, passing.place, passing.frame)
            self.guard.drop_news()
        elif not passing.accumulates:
            self.modes.differentiated()
        else:
            fed = self.registry.after_backward(passing.place)
            if self.modes.evaluating:
                self.modes.restored(passing.place, clock())
                self.modes.backward(fed, passing.place, lambda: self._is_foreign(passing))
            self._leaks.backward(passing.roots[0], passing.place, passing.frame)
            for hear in self._audience.after_backward:
                hear(passing, fed)

    def _is_foreign(self, passing: Pass) -> bool:
        """Tell whether a backward pass is none of training: somebody reads its gradients.

        An attack or a saliency map wants those of a leaf that no optimizer holds; Fisher information is made of the weights'.
        """
        if reads_gradients(passing.frame) or calls_reader_of_gradients(passing.frame):
            return True
        owned = {id(parameter) for watched in self.registry for parameter in watched.parameters()}
        return any(id(each) not in owned for each in leaves(passing.roots, _NODES))

    def before_step(self, optimizer: Optimizer, arguments: Arguments) -> Arguments | None:
        """`optimizer.step(*arguments)` starts; other arguments may be returned for it."""
        return self._before_step(optimizer, arguments, sys._getframe(2))

    @guarded
    def _before_step(self, optimizer: Optimizer, arguments: Arguments, frame: FrameType) -> Arguments | None:
        self.rhythm.leave()
        watched = self.registry.of(optimizer)
        caller = user_frame(frame)
        steps = still_running(self._thread.steps, frame)
        outer = next((step for step in steps if self.registry.wraps(step.watched, watched)), None)
        step = Step(watched, place_of(caller), id(frame))
        steps.append(step)
        given = closure_in(arguments)
        if outer is not None or given is not None or self._thread.passing is not None:
            self._unsettle()
        if outer is None or outer.closure is not None:
            for hear in self._audience.before_step:
                hear(watched, step.place, caller)
        if outer is not None and outer.closure is None:
            step.judged = False
        elif can_be_replaced(given):
            demanding, unused = is_lbfgs(optimizer), self.registry.unused(watched)
            step.closure = closure_call(self.ledger, watched, given, caller, demanding=demanding, unused=unused)
            return with_closure(arguments, step.closure.wrapped(self.guard))
        elif given is not None or shadows_others(frame):
            step.judged = False
            watched.escape(step.place)
        else:
            self._judge(step, outer)
            self._check_for_closure(optimizer, step.place, caller)
        return None

    def _judge(self, step: Step, outer: Step | None) -> None:
        step.judge(EventKind.BACKWARD if self._thread.passing is not None else None, outer)

    def _check_for_closure(self, optimizer: Optimizer, place: Location, frame: FrameType | None) -> None:
        if is_lbfgs(optimizer):  # torch raises TypeError now
            self.ledger.report("GL401", place, subject=name_of(optimizer, frame))
            self.guard.drop_news()

    def after_step(self, optimizer: Optimizer) -> None:
        """It ended well."""
        self._after_step(optimizer, sys._getframe(2))

    @guarded
    def _after_step(self, optimizer: Optimizer, frame: FrameType) -> None:
        steps = self._thread.steps
        if not steps or steps[-1].watched.optimizer is not optimizer:
            return
        step = steps.pop()
        if step.closure is not None:
            step.closure.ended()
            if step.judged:
                self._judge(step, None)
        if not step.judged:
            return
        watched, place, caller = step.watched, step.place, user_frame(frame)
        watched.after_step(place)
        for hear in self._audience.after_step:
            hear(watched, place, caller)
        if step.violation is not None:
            step.tell(self.ledger, step.violation, name_of(optimizer, caller))
            if step.violation.code == "GL104" and not self.clearing:
                self.clearing.append(self._look_before_clearing)
        if watched.steps == 1 or self._schedulers.waiting:
            self._schedulers.stepped(optimizer, place, caller)
        if self.modes.evaluating:
            self.modes.stepped(watched, place)
        known, self._known = self._known, (self.ledger.entries, self.modes.states)
        if known != self._known or self._leaks.suspicious or step.violation is not None:
            self.rhythm.spoil()
        self.rhythm.note(-id(optimizer), place, watched, step.gradient, step.version)

    @guarded
    def _look_before_clearing(self, owner: Optimizer | Module) -> None:
        """See gradients that were written by hand: once they are cleared, nothing tells of them."""
        place = place_of(user_frame(sys._getframe(3)))
        for watched in self.registry.cleared_by(owner):
            watched.changed_by_hand(place)

    def zeroed(self, owner: Optimizer | Module) -> None:
        """The gradients of `owner` were cleared."""
        self._zeroed(owner, sys._getframe(2))

    @guarded
    def _zeroed(self, owner: Optimizer | Module, frame: FrameType) -> None:
        if self._thread.passing is not None:
            self._unsettle()
        place = place_of(user_frame(frame))
        for hear in self._audience.before_zero:
            hear(owner, place)
        self.registry.zeroed(owner, place)
        self.rhythm.note(id(owner), place)

    @guarded
    def left(self, error: BaseException) -> None:
        """An error leaves what is watched; torch's own words stay the first."""
        self.rhythm.leave()
        self._nonfinite.ended()  # the frames still hold the optimizers
        self._failures.left(error)

    @guarded
    def ended(self) -> None:
        """The run is over: decide what was left open, once."""
        self.rhythm.leave()
        self._schedulers.ended(self._rates.counts_batches)
        for hear in self._audience.ended:
            hear()
        for watched in self.registry:
            watched.conclude(self.ledger)
        self._leaks.ended()
        self.modes.ended(clock())
        self.guard.close()
