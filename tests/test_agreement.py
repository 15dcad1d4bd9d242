"""Both sides on random training programs: the reader of source and the watcher of the run must not contradict each other.

A program is run with its lines traced. As each line that matters is one event, the trace drives the automata by itself:
what it finds is the truth, to which both sides are held.
"""

from __future__ import annotations

import ast
import linecache
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, example, given, settings
from strategies import MODEL, OPTIMIZER, OTHER_OPTIMIZER, SCHEDULER, SETTING, Act, Program, programs

import gradlint
from gradlint import protocols
from gradlint.diagnostics import Confidence, Diagnostic, Location
from gradlint.events import EventKind
from gradlint.static.analysis import Analysis
from gradlint.static.flow.following import run
from gradlint.static.flow.subjects import on_optimizer, on_scheduler
from gradlint.static.flow.trained import on_module
from gradlint.static.flow.tree import Effect, Event
from gradlint.static.lowering.values import Kind
from gradlint.typestate import Protocol, State

pytest.importorskip("torch")

_FILE = "program.py"
Check = Callable[[Program], None]

AGREEMENT = settings(
    deadline=None,
    derandomize=True,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


# What happens -------------------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Found:
    """A finding: where and what."""

    row: int
    code: str


@dataclass(frozen=True)
class Ran:
    """A run: its lines in order, and what the watcher found."""

    rows: tuple[int, ...]
    found: frozenset[Found]


def ran(program: Program) -> Ran:
    """Run a program under the watcher, and note which lines it runs."""
    rows: list[int] = []
    linecache.cache[_FILE] = (len(program.source), None, program.source.splitlines(keepends=True), _FILE)
    code = compile(noting(ast.parse(program.source)), _FILE, "exec")
    with gradlint.watch(output=None) as report:
        exec(code, {"__name__": "__main__", "_at": rows.append})  # noqa: S102
    assert report.failure is None
    return Ran(tuple(rows), found(report.diagnostics))


def noting(tree: ast.Module) -> ast.Module:
    """Return a program that says before each statement where it is (a tracer would follow torch everywhere, too)."""
    for node in list(ast.walk(tree)):
        for name in ("body", "orelse"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                setattr(node, name, [each for statement in block for each in (_note(statement), statement)])
    return ast.fix_missing_locations(tree)


def _note(statement: ast.stmt) -> ast.stmt:
    call = ast.Call(ast.Name("_at", ast.Load()), [ast.Constant(statement.lineno)], [])
    return ast.copy_location(ast.Expr(call), statement)


def found(diagnostics: list[Diagnostic]) -> frozenset[Found]:
    return frozenset(Found(item.location.row, item.code) for item in diagnostics)


@dataclass(frozen=True)
class Arrival:
    """An event that reached a subject in a state."""

    row: int
    kind: EventKind
    state: State


@dataclass(frozen=True)
class Subject:
    """One that a protocol is followed for."""

    name: str
    protocol: Protocol


SUBJECTS = (
    Subject(OPTIMIZER, protocols.OPTIMIZER),
    Subject(OTHER_OPTIMIZER, protocols.OPTIMIZER),
    Subject(SCHEDULER, protocols.SCHEDULER),
    Subject(MODEL, protocols.MODE),
)


def subjects(program: Program) -> Iterator[Subject]:
    """Yield whom a program has."""
    return (subject for subject in SUBJECTS if f"{subject.name} = " in program.source)


def kinds(act: Act, subject: Subject, *, own: bool) -> Iterator[EventKind]:
    """Yield what a line means to a subject; unless `own`, the gradients of any backward may be its gradients."""
    match act.kind, subject.protocol.name:
        case EventKind.BACKWARD, "mode":
            if OPTIMIZER in act.on:
                yield EventKind.FORWARD
            if OPTIMIZER in act.on or not own:
                yield EventKind.BACKWARD
        case EventKind.BACKWARD, "optimizer":
            if subject.name in act.on or not own:
                yield act.kind
        case EventKind.STEP, "scheduler" | "mode":
            if OPTIMIZER in act.on:
                yield act.kind
        case _ if subject.name in act.on:
            yield act.kind


def lived(program: Program, rows: tuple[int, ...], subject: Subject, *, own: bool = True) -> Iterator[Arrival]:
    """Yield the states in which the events of a run reach a subject."""
    acts, state = program.acts, subject.protocol.initial
    for row in rows:
        for kind in kinds(acts[row], subject, own=own) if row in acts else ():
            yield Arrival(row, kind, state)
            state = subject.protocol.advance(state, kind, Location(_FILE, row))[0]


def violations(arrivals: Iterator[Arrival], protocol: Protocol) -> Counter[Found]:
    """Return how often each rule is broken at each line."""
    moves = ((each.row, protocol.advance(each.state, each.kind, Location(_FILE, each.row))[1]) for each in arrivals)
    return Counter(Found(row, violation.code) for row, violation in moves if violation is not None)


# What the reader thinks possible ------------------------------------------------------------------


def effects(analysis: Analysis, subject: Subject) -> Iterator[Effect]:
    """Yield what events mean to a subject, in the reader's view."""
    known = analysis.lowering.objects
    for made in analysis.lowering.objects.values():
        if made.uid[-1] != subject.name:
            continue
        match made.kind:
            case Kind.OPTIMIZER:
                yield on_optimizer(made, known)
            case Kind.SCHEDULER:
                yield on_scheduler(made)
            case Kind.MODULE:
                yield on_module(made.uid, analysis.trained_by[made.uid])


def possible(program: Program, subject: Subject) -> frozenset[Arrival]:
    """Return in which states the reader thinks that a subject can be reached, and by what."""
    analysis = Analysis(ast.parse(program.source), program.source, _FILE)
    return frozenset(
        Arrival(event.place.row, kind, in_rows(world.state))
        for effect in effects(analysis, subject)
        for root in analysis.roots
        for event, worlds in run(root.tree, subject.protocol, effect).arrivals.items()
        for world in worlds
        if (kind := effect(event)) is not None
    )


def in_rows(state: State) -> State:
    """Return a state whose marks are rows."""
    return State(state.name, tuple(sorted((role, Location(_FILE, place.row)) for role, place in state.marks)))


# Telling programs: on which the sides once disagreed, or that a mistake in either side shows at ----


def program(body: str) -> Program:
    """Return a program with one optimizer that does the steps of `body`."""
    return Program(f"{SETTING}\n{body}")


LEFT_BY_BREAK = program(
    """\
n = 0
while True:
    n += 1
    if n > 3:
        break
for i in range(4):
    model(x).sum().backward()
    optimizer.step()
"""
)
RENEWED_IN_AN_IDLE_LOOP = program(
    """\
for i in range(4):
    for j in range(3):
        flag = (i + j) % 2 == 0
    if flag:
        model(x).sum().backward()
    else:
        optimizer.step()
        optimizer.zero_grad()
"""
)
STEP_BEFORE_BACKWARD = program(
    """\
for i in range(3):
    optimizer.step()
    model(x).sum().backward()
"""
)
ONE_STEP_OF_TWO_CALLS = program(
    """\
def learn():
    model(x).sum().backward()
    optimizer.step()
for i in range(2):
    optimizer.zero_grad()
    learn()
    learn()
"""
)
CLEARED_AROUND = program(
    """\
for i in range(3):
    optimizer.zero_grad()
    for j in range(2):
        model(x).sum().backward()
        if j == i:
            continue
        optimizer.step()
"""
)
SOMETIMES_REPEATED = program(
    """\
for i in range(4):
    optimizer.zero_grad()
    model(x).sum().backward()
    optimizer.step()
    if i % 2 == 0:
        model(x).sum().backward()
        optimizer.zero_grad()
        model(x).sum().backward()
    optimizer.step()
"""
)
SET_BEFORE_CONTINUE = program(
    """\
for i in range(3):
    if i % 2 == 0:
        flag = True
        continue
    flag = False
if flag:
    optimizer.step()
"""
)


def telling(check: Check) -> Check:
    """Try a property on all of them."""
    for each in (value for value in globals().values() if isinstance(value, Program)):
        check = example(each)(check)
    return check


# The properties -----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@AGREEMENT
@given(programs())
@telling
def test_every_state_of_a_run_is_one_that_the_reader_thinks_possible(program: Program) -> None:
    rows = ran(program).rows
    for subject in subjects(program):
        missed = set(lived(program, rows, subject, own=False)) - possible(program, subject)
        assert missed == set(), program.source


@dataclass(frozen=True)
class Claim:
    """What the reader is certain of: that a line breaks one of `codes` whenever it is reached as `subject` says.

    `outside` are the rows of clearings around the loop of the line: the first time after one is no repetition.
    """

    row: int
    subject: Subject
    codes: frozenset[str]
    outside: frozenset[int]

    def speaks_of(self, arrival: Arrival) -> bool:
        if arrival.row != self.row:
            return False
        if "GL201" in self.codes:
            return arrival.state.mark("scheduled") is None
        cleared = arrival.state.mark("cleared")
        first = arrival.state.mark("spent") is None or (cleared is not None and cleared.row in self.outside)
        return not ("GL101" in self.codes and first)

    def holds_of(self, arrival: Arrival) -> bool:
        violation = self.subject.protocol.advance(arrival.state, arrival.kind, Location(_FILE, arrival.row))[1]
        return violation is not None and violation.code in self.codes


# An empty step is called after what happens the first time; the stale ones have more special names, too.
EMPTY_STEP, STALE_STEP = frozenset({"GL103", "GL104"}), frozenset({"GL101"})
CLAIMS: Mapping[str, frozenset[str]] = {
    "GL101": STALE_STEP,
    "GL102": STALE_STEP,
    "GL107": STALE_STEP,
    "GL103": frozenset({"GL103"}),
    "GL104": EMPTY_STEP,
    "GL109": frozenset({"GL109"}),
    "GL201": frozenset({"GL201"}),
}


def claims(program: Program) -> Iterator[Claim]:
    """Yield what the reader is certain of; of a line that is reached through several calls it speaks for one only."""
    analysis = Analysis(ast.parse(program.source), program.source, _FILE)
    every = [event for found in analysis.events.values() for event in found]
    for item in gradlint.check_source(program.source, _FILE):
        row = item.location.row
        here = {event for event in every if event.place.row == row}
        if item.code in CLAIMS and item.confidence is Confidence.CERTAIN and len(here) == 1:
            [subject] = (each for each in SUBJECTS if each.name in program.acts[row].on)
            yield Claim(row, subject, CLAIMS[item.code], clearings_around(here.pop(), every))


def clearings_around(step: Event, every: list[Event]) -> frozenset[int]:
    """Return the rows of clearings that stand around the innermost loop of a step."""
    return frozenset(
        each.place.row
        for each in every
        if each.kind is EventKind.ZERO
        and len(each.loops) < len(step.loops)
        and step.loops[: len(each.loops)] == each.loops
    )


@pytest.mark.filterwarnings("ignore")
@AGREEMENT
@given(programs(two=False))
@telling
def test_what_the_reader_is_certain_of_happens_in_every_run(program: Program) -> None:
    rows = ran(program).rows
    for claim in claims(program):
        arrivals = filter(claim.speaks_of, lived(program, rows, claim.subject))
        assert all(map(claim.holds_of, arrivals)), f"{claim}\n{program.source}"


def shown(program: Program, rows: tuple[int, ...]) -> Counter[Found]:
    """Return the violations that a trace shows, and how often."""
    orders = (subject for subject in subjects(program) if subject.name != MODEL)
    counters = (violations(lived(program, rows, subject), subject.protocol) for subject in orders)
    return sum(counters, Counter())


ORDER = frozenset({"GL101", "GL103", "GL104", "GL109", "GL201"})
HELD_BACK = frozenset({"GL103", "GL104", "GL109", "GL201"})
"""What the watcher reports only if it is the rule, or if more follows: a warm-up and a preview are no mistakes.

After its first steps it looks at a few gradients only, and at all of them once these have shown something odd.
"""


@pytest.mark.filterwarnings("ignore")
@AGREEMENT
@given(programs())
@telling
def test_the_watcher_finds_what_the_trace_shows(program: Program) -> None:
    this = ran(program)
    true = frozenset(shown(program, this.rows))
    told = frozenset(item for item in this.found if item.code in ORDER)
    assert told <= true, program.source
    assert {item for item in true - told if item.code not in HELD_BACK} == set(), program.source


@pytest.mark.filterwarnings("ignore")
@AGREEMENT
@given(programs())
@telling
def test_a_schedule_that_the_watcher_says_nobody_steps_is_one_for_the_reader(program: Program) -> None:
    this = ran(program)
    acts = [program.acts[row] for row in this.rows if row in program.acts]
    told = [item for item in this.found if item.code == "GL202"]
    if any(act.kind is EventKind.SCHEDULE for act in acts):
        assert told == [], program.source
    elif told:
        read = found(gradlint.check_source(program.source, _FILE))
        assert set(told) <= read or any(item.code in ("GL211", "GL805") for item in read), program.source


NEVER = frozenset({"GL111", "GL206", "GL212", "GL213", "GL219", "GL220", "GL303", "GL702", "GL703"})
"""What none of these programs does: they have no data, no scaler, and one loss, of no mean."""


@pytest.mark.filterwarnings("ignore")
@AGREEMENT
@given(programs())
@telling
def test_the_watcher_makes_nothing_up(program: Program) -> None:
    assert {item for item in ran(program).found if item.code in NEVER} == set(), program.source
