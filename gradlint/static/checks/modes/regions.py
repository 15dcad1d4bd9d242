"""Regions: which part of a program around a forward is a validation, by its own words or by what its callers give it.

It knows the names of data and functions, and where parameters are updated; it must not know modes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cached_property

from gradlint.data import dataclass
from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.facts.cadence import definitions, last_name, sources_of
from gradlint.static.flow.tree import Event
from gradlint.static.syntax.nodes import walk, walk_of, words
from gradlint.static.syntax.passing import given_to
from gradlint.static.syntax.questions import FunctionNode

_WORDS = r"val|valid|validate|validation|dev|test|testing|eval|evaluate|evaluation|holdout"
_HOLDERS = r"loader|set|data|iter|dl|gen|batch"
VALIDATION_DATA = regex(rf"(?:^|[^a-z]|{_HOLDERS})(?:{_WORDS})(?:$|[^a-z]|{_HOLDERS})", re.IGNORECASE)
EVALUATES = regex(rf"(?:^|_)(?:{_WORDS})(?:$|_)", re.IGNORECASE)
TRAINS = regex(r"train|fit", re.IGNORECASE)
INFERS = regex(rf"(?:^|_)(?:{_WORDS}|predict|prediction|infer|inference)(?:$|_)", re.IGNORECASE)
UPDATES = (EventKind.BACKWARD, EventKind.RETAIN, EventKind.SETGRAD, EventKind.STEP)

Region = Callable[[Event], bool]


@dataclass(frozen=True)
class Around:
    """Some events of a program, and what of it is a validation."""

    analysis: Analysis
    found: list[Event]

    @cached_property
    def updates(self) -> list[Event]:
        """What trains."""
        return [event for event in self.found if event.kind in UPDATES]

    def trains_through(self, event: Event) -> bool:
        """Whether some backward runs through what is computed here."""
        return (event.place, event.phase) in self._run_through

    @cached_property
    def _run_through(self) -> frozenset[tuple[Location, str]]:
        return frozenset((node.place, update.phase) for update in self.updates for node in update.nodes)

    def validates(self, event: Event) -> bool:
        """Whether a forward is certainly a part of a validation: a region that says so and in which nothing is trained."""
        if "no-grad" not in event.roles and self.trains_through(event):
            return False
        return any(not any(map(region, self.updates)) for region in self._regions(event))

    def _regions(self, event: Event) -> Iterator[Region]:
        """Yield the regions around a forward that by their own words, or by their twin, are a validation."""
        if is_validation_phase(event):
            yield lambda other: other.phase == event.phase
        for depth, number in enumerate(event.loops, 1):
            loop = self.analysis.lowering.loop_nodes.get(number)
            if over_validation_data(loop) and ("no-grad" in event.roles or not isinstance(loop, ast.While)):
                yield inside_loops(event, depth)
        if self._drawn_from_validation_data(event) or self._runs_validation_data(event):
            yield lambda other: other is event
        for depth, called in enumerate(event.frame, 1):
            name = called.partition(":")[0]
            if EVALUATES.search(name) and not TRAINS.search(name) and ("no-grad" in event.roles or event.loops):
                yield _inside_frame(event, depth)
        for depth, number in enumerate(event.loops, 1):
            if self._is_given_validation_data(event, number) or self._goes_over_validation_data(event, number):
                yield inside_loops(event, depth)
        if "no-grad" in event.roles and event.loops and self.trains_through(event):
            # One function serves both phases: the same call trains in another activation.
            yield inside_loops(event, len(event.loops))

    def _runs_validation_data(self, event: Event) -> bool:
        """Whether a forward runs all validation data at once, behind a training or in its loop; a loop of its own draws samples."""
        if "no-grad" not in event.roles or event.place not in self.analysis.kept(_runs_of_validation_data):
            return False
        trained = (other for other in self.found if other.kind is EventKind.BACKWARD)
        return not event.loops or any(other.is_in(event.loops) for other in trained)

    def _is_given_validation_data(self, event: Event, number: int) -> bool:
        """Whether a loop runs over what its function is given, and the call names that validation data."""
        loop, frame = self.analysis.lowering.loop_nodes.get(number), self.analysis.lowering.frames.get(event.frame)
        while frame is not None and frame.callers and isinstance(loop, (ast.For, ast.AsyncFor)):
            call, node = frame.callers[-1][1], frame.node
            if isinstance(call, ast.Call) and isinstance(node, FunctionNode) and loop in walk(node):
                given = given_to(node, call, bound=frame.receiver is not None)
                told = [given[name] for name in words(loop.iter) & given.keys()]
                return any(is_validation_data(self.analysis, each, frame.callers[-1][0]) for each in told)
            frame = self.analysis.lowering.frames.get(frame.path[:-1])
        return False

    def _goes_over_validation_data(self, event: Event, number: int) -> bool:
        """Whether a loop runs over a loader that is built of validation data, whatever it is called."""
        loop, frame = self.analysis.lowering.loop_nodes.get(number), self.analysis.lowering.frames.get(event.frame)
        if not isinstance(loop, (ast.For, ast.AsyncFor)) or TRAINS.search(ast.unparse(loop.iter)):
            return False
        scope = frame.node if frame is not None else None
        return any(is_validation_data(self.analysis, each, scope) for each in sources_of(loop.iter))

    def _drawn_from_validation_data(self, event: Event) -> bool:
        """Whether a forward runs what the same block has just drawn from validation data: `x, y = next(iter(test_loader))`."""
        frame = self.analysis.lowering.frames.get(event.frame)
        around = self.analysis.tree if frame is None or frame.node is None else frame.node
        if not any(map(_draws, walk_of(around, ast.Assign))):
            return False
        for block in _blocks(around):
            index = next((number for number, each in enumerate(block) if self._holds(each, event)), None)
            if index is not None and any(map(_draws, block[:index])):
                return not any(self._trains_behind(each, event) for each in block[index:])
        return False

    def _holds(self, statement: ast.stmt, event: Event) -> bool:
        """Whether a statement that is no block of its own makes the call of an event."""
        if not isinstance(statement, (ast.Assign, ast.Expr, ast.AugAssign)):
            return False
        source = self.analysis.source
        return any(isinstance(node, ast.Call) and source.place(node) == event.place for node in walk(statement))

    def _trains_behind(self, statement: ast.stmt, event: Event) -> bool:
        rows = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
        return any(other.frame == event.frame and other.place.row in rows for other in self.updates)


def _runs_of_validation_data(analysis: Analysis) -> frozenset[Location]:
    """Return the calls that are given one thing only which by its name is validation data: `model(X_test)`."""
    found = (call for call in analysis.nodes(ast.Call) if len(call.args) == 1 and not call.keywords)
    told = ((call, call.args[0]) for call in found if isinstance(call.args[0], (ast.Name, ast.Attribute)))
    named = ((call, ast.unparse(each)) for call, each in told)
    return frozenset(
        analysis.source.place(call) for call, name in named if VALIDATION_DATA.search(name) and not TRAINS.search(name)
    )


def is_validation_data(analysis: Analysis, node: ast.expr, scope: ast.AST | None, depth: int = 3) -> bool:
    """Whether data is there to validate on: by its name, or by that of what its loader is built of."""
    match node:
        case ast.Call(func, args, keywords) if last_name(func) == "DataLoader":
            named = {keyword.arg: keyword.value for keyword in keywords}
            data = named.get("dataset", args[0] if args else None)
            return data is not None and is_validation_data(analysis, data, scope, depth - 1)
        case ast.Call(_, args, keywords):
            return any(_says_which(each.arg, each.value) for each in keywords)
        case ast.Name() | ast.Attribute() | ast.Subscript():
            said = ast.unparse(node)
            if VALIDATION_DATA.search(said) or TRAINS.search(said):
                return not TRAINS.search(said)
            given = definitions(analysis, node, scope) if depth else []
            return len(given) == 1 and is_validation_data(analysis, given[0], scope, depth - 1)
        case _:
            return False


def _says_which(option: str | None, value: ast.expr) -> bool:
    """Whether an argument of a data set says that it is not for training: `train=False`, `split="test"`."""
    match option, value:
        case "train" | "training" | "is_train", ast.Constant(False):
            return True
        case "split" | "mode" | "phase" | "subset", ast.Constant(str(word)):
            return bool(EVALUATES.fullmatch(word))
        case _:
            return False


def is_validation_phase(event: Event) -> bool:
    """Whether a loop over the names of phases says that something happens in a validation."""
    return bool(VALIDATION_DATA.search(event.phase)) and not TRAINS.search(event.phase)


def inside_loops(event: Event, depth: int) -> Region:
    """Return the region inside of the outer loops around an event."""
    return lambda other: other.loops[:depth] == event.loops[:depth]


def _inside_frame(event: Event, depth: int) -> Region:
    return lambda other: other.frame[:depth] == event.frame[:depth]


def _blocks(around: ast.AST) -> Iterator[list[ast.stmt]]:
    for node in walk(around):
        for block in (getattr(node, "body", None), getattr(node, "orelse", None)):
            if isinstance(block, list):
                yield block


def _draws(statement: ast.stmt) -> bool:
    match statement:
        case ast.Assign(value=ast.Call(ast.Name("next"), [source])):
            told = ast.unparse(source)
            return bool(VALIDATION_DATA.search(told)) and not TRAINS.search(told)
        case _:
            return False


def over_validation_data(loop: ast.AST | None) -> bool:
    """Whether a loop goes over validation data by the name of what it goes over."""
    match loop:
        case ast.For(iter=told) | ast.AsyncFor(iter=told) | ast.While(test=told):
            source = ast.unparse(told)
            return bool(VALIDATION_DATA.search(source)) and not TRAINS.search(source)
        case _:
            return False
