"""Modules of an object whose mode its methods forget: GL303 and GL304 where only a caller knows the order of methods.

The methods of a class that nobody is seen to call are read apart. What one of them trains, and another one evaluates, goes
through both in some order. A method that switches the mode of another module says that it means the mode of all; one that
switches none is judged where all of the class is in sight.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import replace

from gradlint.data import dataclass
from gradlint.diagnostics import Diagnostic, Severity, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.modes.left_off import left_off
from gradlint.static.checks.modes.regions import EVALUATES, TRAINS, UPDATES
from gradlint.static.checks.modes.weight import effect_of, mode_of, severity_of
from gradlint.static.facts.layers import Sensitivity
from gradlint.static.facts.sensitivity import Makers
from gradlint.static.flow.kinship import overlap
from gradlint.static.flow.roots import Root
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.lowering.values import Class
from gradlint.wordings.modes import AFTER_EVALUATION


@check
def forgotten_beside_another(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL303 and GL304: a method switches one trained module of its object, and runs another one as some method has left it."""
    makers = analysis.kept(Makers)
    for cls in analysis.nodes(ast.ClassDef):
        methods = [root for root in analysis.roots if root.node in cls.body]
        for module, owners in sorted(analysis.trained_by.items()) if len(methods) > 1 else ():
            shared = _Shared(analysis, methods, module, owners, closed=_is_closed(analysis, cls))
            sensitivity = makers.sensitivity(module)
            if sensitivity is Sensitivity.YES or not (sensitivity is Sensitivity.NO or makers.in_training_mode(module)):
                yield from shared.evaluated(makers)
                severity = Severity.ERROR if sensitivity is Sensitivity.YES else Severity.WARNING
                yield from (replace(each, severity=severity) for each in shared.trained())


def _is_closed(analysis: Analysis, node: ast.ClassDef) -> bool:
    cls = analysis.lowering.settled((analysis.lowering.module.path, node.name))
    return isinstance(cls, Class) and cls.node is node and not analysis.lowering.is_open(cls)


@dataclass(frozen=True)
class _Shared:
    """A trained module of an object, and the methods of its class that are read apart."""

    analysis: Analysis
    methods: list[Root]
    module: Uid
    owners: frozenset[Uid]
    closed: bool

    def evaluated(self, makers: Makers) -> Iterator[Diagnostic]:
        """Yield GL303: another module is put into evaluation mode, and this one is run beside it as training has left it."""
        if self._switched(self.analysis.roots, EventKind.EVAL):
            return
        for method in self.methods:
            found = self.analysis.events[method]
            runs = [event for event in self._runs(found) if "no-grad" in event.roles and event.loops]
            beside = self._beside(found, EventKind.EVAL) or (runs[0] if runs and self._is_named(method) else None)
            stepped = next((step for other in self.methods if other is not method for step in self._steps(other)), None)
            if runs and beside and stepped and not any(event.kind in UPDATES for event in found):
                marks = (("stepped", stepped.place), ("forward", runs[0].place))
                severity = severity_of(makers, self.module)
                if severity is not None:
                    mode, effect = mode_of(severity), effect_of(makers, self.module)
                    name = runs[0].name
                    found_here = compose(
                        "GL303", Side.STATIC, beside.place, marks, subject=name, mode=mode, effect=effect
                    )
                    yield replace(found_here, severity=severity)

    def trained(self) -> Iterator[Diagnostic]:
        """Yield GL304: another module is put into training mode, and this one is trained as an evaluation has left it."""
        if self._switched(self.analysis.roots, EventKind.TRAIN):
            return
        for method in self.methods:
            found = self.analysis.events[method]
            runs = [event for event in self._runs(found) if "grad" in event.roles]
            others = [other for other in self.methods if other is not method]
            # What is only made ready for use, as by a method that loads it, may not be trained on.
            evaluating = [other for other in others if self._evaluates(self.analysis.events[other])]
            left = self._switched(evaluating, EventKind.EVAL)
            steps = self._steps(method)
            # Who evaluates behind a method that goes through all epochs by itself does not come back to it.
            again = self.closed and not any(len(step.loops) > 1 for step in steps)
            beside = self._beside(found, EventKind.TRAIN) or (runs[0] if runs and again else None)
            if runs and beside and left and steps:
                marks = (("eval", left[0].place), ("forward", runs[0].place))
                subject = self.analysis.named(self.module)
                yield left_off(self.analysis, self.module, beside.place, marks, subject, AFTER_EVALUATION)

    def _is_named(self, method: Root) -> bool:
        """Whether all of the class is in sight, and a method says by its name that it evaluates."""
        name = getattr(method.node, "name", "")
        return self.closed and bool(EVALUATES.search(name)) and not TRAINS.search(name)

    def _runs(self, found: Iterable[Event]) -> Iterator[Event]:
        for event in found:
            if event.kind is EventKind.FORWARD and self.module in (event.targets or ()) and "method" not in event.roles:
                yield event

    def _evaluates(self, found: list[Event]) -> bool:
        """Whether a method runs the module as it is, not as it was loaded to be tried out."""
        loaded = any(event.kind is EventKind.LOAD and self.module in (event.targets or ()) for event in found)
        return any(self._runs(found)) and not loaded

    def _steps(self, method: Root) -> list[Event]:
        found = self.analysis.events[method]
        return [
            event for event in found if event.kind is EventKind.STEP and self.owners & (event.targets or frozenset())
        ]

    def _switched(self, roots: Iterable[Root], kind: EventKind) -> list[Event]:
        """Return where the module, a part of it or what it is a part of is switched."""
        events = (event for root in roots for event in self.analysis.events[root] if event.kind is kind)
        return [event for event in events if any(overlap(self.module, uid) for uid in event.targets or ())]

    def _beside(self, found: Iterable[Event], kind: EventKind) -> Event | None:
        """Return where another trained module is switched."""
        for event in found:
            others = (uid for uid in event.targets or () if event.kind is kind and not overlap(self.module, uid))
            if any(self.analysis.trained.overlapping(uid) for uid in others):
                return event
        return None
