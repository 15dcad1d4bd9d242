"""Evaluation in training mode: GL303."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from gradlint.data import dataclass
from gradlint.diagnostics import Diagnostic, Location, Severity, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.modes.regions import (
    INFERS,
    TRAINS,
    UPDATES,
    Around,
    inside_loops,
    over_validation_data,
)
from gradlint.static.checks.modes.weight import effect_of, mode_of, severity_of
from gradlint.static.facts.bearing import bears_weights, built_in_place
from gradlint.static.facts.layers import Sensitivity
from gradlint.static.facts.running import Run, only_runs, run_of
from gradlint.static.facts.sensitivity import Makers
from gradlint.static.facts.trials import is_trial
from gradlint.static.flow.following import follow_to
from gradlint.static.flow.kinship import overlap, within
from gradlint.static.flow.protocols import VALIDATION
from gradlint.static.flow.roots import Root
from gradlint.static.flow.trained import on_validated
from gradlint.static.flow.tree import Effect, Event, Uid
from gradlint.static.lowering.algebra import held
from gradlint.static.lowering.values import Function, Instance
from gradlint.static.syntax.nodes import called, walk
from gradlint.typestate import Marks, State


@check
def evaluation_in_train_mode(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL303: a model with trained parameters is evaluated before anything puts it into evaluation mode."""
    makers = analysis.kept(Makers)
    for root in analysis.roots:
        forwards: dict[Uid, list[Event]] = defaultdict(list)
        for event in root.of(EventKind.FORWARD):
            for module in event.targets or ():
                if "method" not in event.roles or only_runs(analysis, module, event):
                    forwards[module].append(event)
        around = Around(analysis, analysis.events[root])
        told: set[Location] = set()  # Parts of one model are loaded, and go without `eval()`, together.
        for module, found in sorted(forwards.items()):
            for each in _evaluated(_Question(analysis, root, module, found, makers, around)):
                if each.location not in told:
                    yield each
                told.add(each.location)


@dataclass(frozen=True)
class _Question:
    """Is this module evaluated in training mode here?"""

    analysis: Analysis
    root: Root
    module: Uid
    forwards: list[Event]
    makers: Makers
    around: Around
    """What of the root is a validation."""

    @property
    def found(self) -> list[Event]:
        """The events of the root."""
        return self.analysis.events[self.root]

    @property
    def owners(self) -> frozenset[Uid]:
        """The optimizers that train the module, parts of it or what it is a part of."""
        trained_by = self.analysis.trained_by
        known = (uid for owned in self.analysis.trained.overlapping(self.module) for uid in trained_by[owned])
        parts = self.analysis.lowering.with_contained((self.module,)) & trained_by.keys()
        return frozenset(known) or frozenset(uid for part in parts for uid in trained_by[part])

    def start(self) -> State:
        """Return in which state the module begins; a given one, whose function never asks for its mode, is trained as any other."""
        made = any("@" in part for part in self.module) and not self._from_a_loop()
        # Whoever made it: in which mode it is trained is that in which it is evaluated.
        given = self.module[0] == "?" and (not made or (self.owners and not self.makers.is_pretrained(self.module)))
        known = self.makers.in_training_mode(self.module) or self.makers.is_saved(self.module)
        return VALIDATION.initial if known or (given and self._never_switched()) else State("unknown")

    def in_order(self, usual: Effect) -> Effect:
        """Return an effect for which the order of a notebook's cells is all one, if none of them ever evaluates the module."""
        found = (event for events in self.analysis.events.values() for event in events)
        evals = (event for event in found if event.kind is EventKind.EVAL)
        if any(overlap(self.module, uid) for event in evals for uid in event.targets or ()):
            return usual
        return lambda event: None if "piece" in event.roles else usual(event)

    def renewed(self, usual: Effect) -> Effect:
        """Return an effect for which a part of the module with other weights takes the place of what was loaded."""

        def effect(event: Event) -> EventKind | None:
            part = event.kind is EventKind.REPLACE and any(within(uid, self.module) for uid in event.targets or ())
            if part and any(bears_weights(self.analysis, uid) for uid in built_in_place(self.analysis, event)):
                return EventKind.REPLACE
            return usual(event)

        return effect

    def _from_a_loop(self) -> bool:
        """Whether a module is each of those that a loop is given."""
        return any(
            self.module in (event.targets or ()) and "given" in event.roles
            for event in self.found
            if event.kind is EventKind.CREATE
        )

    def _never_switched(self) -> bool:
        """Whether a function that is given a model never asks for its mode."""
        switches = [event for event in self.found if event.kind in (EventKind.TRAIN, EventKind.EVAL)]
        return not any(overlap(self.module, uid) for event in switches for uid in event.targets or ())

    def severity(self) -> Severity | None:
        """Return how much it weighs; nothing where all who call the function give a model to which the mode is all one."""
        if self.makers.is_saved(self.module):
            # Who saves a model behind an evaluation saves it in evaluation mode.
            return None if self.makers.sensitivity(self.module) is Sensitivity.NO else Severity.INFO
        found = severity_of(self.makers, self.module)
        return None if found is not Severity.ERROR and self._is_given_only_insensitive() else found

    def _is_given_only_insensitive(self) -> bool:
        """Whether all calls of the function in this file, in branches that are switched off too, give a model without a mode."""
        node = self.root.node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return False
        names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args)]
        name = self.module[-1].rpartition("/")[2]
        if name not in names:
            return False
        place = names.index(name)
        calls = [call for call in self.analysis.nodes(ast.Call) if self._calls(call, node)]
        given = [call.args[place] for call in calls if len(call.args) > place]
        return 0 < len(given) == len(calls) and all(map(self._is_insensitive, given))

    def _calls(self, call: ast.Call, node: ast.AST) -> bool:
        callee = self.analysis.value(call.func)
        return isinstance(callee, Function) and callee.node is node and callee.receiver is None

    def _is_insensitive(self, argument: ast.expr) -> bool:
        known = self.analysis.value(argument)
        return isinstance(known, Instance) and self.makers.sensitivity(known.uid) is Sensitivity.NO


def _may_be_found(asked: _Question) -> bool:
    """Whether a forward is in a validation at all, or may run what was loaded in a file that trains nothing."""
    if any(asked.around.validates(event) for event in asked.forwards):
        return True
    trains = _trains(asked) and not any(_is_inference(asked, event) for event in asked.forwards)
    return not trains and any(event.kind is EventKind.LOAD for event in asked.found)


def _is_inference(asked: _Question, event: Event) -> bool:
    """Whether a file that trains loads weights and runs them in a function that by its name does no more than that."""
    if asked.around.updates or _is_handed_over(asked):
        return False
    names = [called.partition(":")[0] for called in event.frame[1:]]
    return any(INFERS.search(name) for name in names) and not any(map(TRAINS.search, names))


def _trains(asked: _Question) -> bool:
    """Whether something is trained in a file, or the module is handed to somebody who trains it by his name."""
    return asked.analysis.kept(_updates) or _is_handed_over(asked)


def _updates(analysis: Analysis) -> bool:
    return any(event.kind in UPDATES for found in analysis.events.values() for event in found)


def _is_handed_over(asked: _Question) -> bool:
    """Whether somebody who trains by his name is given the module, or what holds it."""
    return any(overlap(asked.module, uid) for uid in asked.analysis.kept(_shown_to_trainers))


def _shown_to_trainers(analysis: Analysis) -> frozenset[Uid]:
    """Return whom calls that train by their names are given, with all that they hold."""
    calls = (call for call in analysis.nodes(ast.Call) if TRAINS.search(called(call)))
    given = (each for call in calls for each in (*call.args, *(keyword.value for keyword in call.keywords)))
    return analysis.lowering.with_contained(held(map(analysis.value, given)))


def _evaluated(asked: _Question) -> Iterator[Diagnostic]:
    if not _may_be_found(asked):
        return
    start = asked.start()
    given = EventKind.CREATE if start == VALIDATION.initial else EventKind.ESCAPE
    effect = asked.renewed(asked.in_order(on_validated(asked.module, asked.owners, given)))
    trains, forwards = _trains(asked), set(asked.forwards)

    def telling(event: Event, _: EventKind) -> Iterator[str]:
        if event in forwards and asked.around.validates(event):
            yield "trained"
        if event in forwards and (not trains or _is_inference(asked, event)):
            yield "loaded"

    arrivals = follow_to(asked.root.bare, VALIDATION, effect, telling, start)
    heads = _heads(arrivals)
    for event, states in sorted(arrivals.items(), key=lambda item: item[0].place):
        if event not in forwards:
            continue
        broken = [state for state in states if VALIDATION.broken_by(state, event.kind) is not None]
        names = {state.name for state in states if state.mark("told") not in heads}
        # Paths on which somebody unknown had the model excuse none on which nobody had.
        known = names <= {"trained", "new", "loaded", "unknown"}
        validated = "trained" in names and known and asked.around.validates(event)
        # Weights that are loaded where there are any are what a file that trains nothing is for.
        loaded = "loaded" in names and names <= {"loaded", "new"} and not is_trial(asked.analysis, event)
        loaded = loaded and (not trains or _is_inference(asked, event))
        if validated or loaded:
            severity = asked.severity()
            if severity is not None:
                run = run_of(asked.analysis, event)
                place, marks = _place(asked, event, min(broken, key=lambda each: each.marks), run)
                mode = mode_of(severity, saved=asked.makers.is_saved(asked.module))
                goes_on = effect_of(asked.makers, asked.module)
                found = compose("GL303", Side.STATIC, place, marks, subject=run.name, mode=mode, effect=goes_on)
                yield replace(found, severity=severity)
            return


def _heads(arrivals: dict[Event, set[State]]) -> frozenset[Location | None]:
    """Return the calls of `train()` that some path takes to a step: the head of an epoch, though a turn of it may step nothing."""
    steps = (state for event, states in arrivals.items() if event.kind is EventKind.STEP for state in states)
    return frozenset(place for state in steps if (place := state.mark("told")) is not None)


def _place(asked: _Question, event: Event, state: State, run: Run) -> tuple[Location, Marks]:
    """Return where `eval()` is missing: behind the load that stands in the same function, else where the evaluation begins."""
    load, forward = state.mark("loaded"), ("forward", run.place)
    if state.name == "loaded" and any(each.place == load and each.frame == run.frame for each in asked.found):
        assert load is not None
        return load, (forward,)
    if state.name == "loaded" and (call := _loading_call(asked, load)) is not None:
        return call, (forward,)
    begin = run.place if state.name == "loaded" and run.frame != event.frame else _begin(asked, event)
    return begin, (*state.marks, *([forward] if begin != run.place else []))


def _loading_call(asked: _Question, load: Location | None) -> Location | None:
    """Return the call in this file by which a helper of another file loads the weights: behind it, the model is this file's own."""
    own = asked.analysis.source.filename
    away = (each for each in asked.found if each.place == load and each.place.filename != own)
    calls = [call for each in away for call in asked.analysis.calls_into(each.frame)[-1:]]
    return asked.analysis.source.place(calls[0]) if calls else None


def _begin(asked: _Question, forward: Event) -> Location:
    """Return the head of the loop that evaluates, in front of which `eval()` is missing; else the forward itself."""
    frame = asked.analysis.lowering.frames.get(forward.frame)
    own = set(walk(frame.node)) if frame is not None and frame.node is not None else None
    heads = list(_evaluating_loops(asked, forward))
    # Around the loop over phases stand those of all of them.
    heads = heads[-1:] if forward.phase else heads
    here = [head for loop, head in heads if own is None or loop in own]
    # A function that trains as well is no place for it: a caller's loop is.
    others = [head for _, head in heads] if asked.around.trains_through(forward) else []
    head = next(iter((*here, *others)), None)
    return forward.place if head is None else asked.analysis.source.of(head).place(head)


def _evaluating_loops(asked: _Question, forward: Event) -> Iterator[tuple[ast.AST, ast.expr]]:
    """Yield the loops around a forward in which nothing is trained, the outermost first, with what their heads say."""
    for depth, number in enumerate(forward.loops, 1):
        loop, region = asked.analysis.lowering.loop_nodes.get(number), inside_loops(forward, depth)
        trains = any(region(other) and other.phase == forward.phase for other in asked.found if other.kind in UPDATES)
        head = loop.iter if isinstance(loop, (ast.For, ast.AsyncFor)) else getattr(loop, "test", None)
        told = not isinstance(loop, ast.While) or over_validation_data(loop)
        if loop is not None and head is not None and told and not trains:
            yield loop, head
