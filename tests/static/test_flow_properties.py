"""The interpreter against a machine that runs a flow tree one small step at a time, every choice of every condition.

The machine knows no join, no fixpoint and no exit sets: it holds what is still to do as a stack, and walks through all
configurations that can be reached. Interpreter and machine must agree on every state in which an event is reached.

Two things make the interpreter see more than some run does, by design, and are held to soundness only: past the most worlds
that it keeps it drops what paths have assumed, and pruning lets a condition change that changes on one of two idle paths.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from strategies import ATOMS, KINDS, crowd, programs_as_trees, trees

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.static.flow.following import pruned
from gradlint.static.flow.glance import may_reach
from gradlint.static.flow.interpreter import Flow, World
from gradlint.static.flow.relevance import relevant
from gradlint.static.flow.tree import (
    EMPTY,
    Atom,
    Both,
    Branch,
    Call,
    Effect,
    Event,
    Jump,
    JumpKind,
    Kill,
    Known,
    Loop,
    Node,
    Not,
    Predicate,
    Seq,
    events,
    rebuilt,
)
from gradlint.typestate import Edge, Protocol, State

_MOST_CONFIGURATIONS = 20_000

PROPERTY = settings(
    deadline=None,
    derandomize=True,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

Table = Mapping[tuple[int, EventKind], int]
TABLES: st.SearchStrategy[Table] = st.fixed_dictionaries(
    {(state, kind): st.integers(0, 2) for state in range(3) for kind in KINDS}
)
"""Automata with three states: what holds for any of them holds for the protocols."""

COUNTING: Table = {
    (state, kind): 1 if kind is EventKind.BACKWARD else 2 if kind is EventKind.STEP and state else 0
    for state in range(3)
    for kind in KINDS
}
"""A step after a backward comes to the end."""


# The machine --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Again:
    """On the stack: an iteration of the loop has ended."""

    loop: Loop


@dataclass(frozen=True)
class Returned:
    """On the stack: a call has ended."""


Facts = frozenset[tuple[Atom, bool]]
Stack = tuple["Node | Again | Returned", ...]
"""What is still to do; the next is the last."""


@dataclass(frozen=True)
class Configuration:
    """A run in the middle: what is to do, the state, and the conditions that have been looked at since they changed."""

    stack: Stack
    state: int
    facts: Facts = frozenset()


@dataclass
class Machine:
    """Runs a tree in every possible way."""

    table: Table
    reached: dict[Event, set[World[int]]] = field(default_factory=lambda: defaultdict(set))
    ends: set[int] = field(default_factory=set)

    def run(self, tree: Node) -> None:
        todo = [Configuration((tree,), 0)]
        seen = set(todo)
        while todo:
            assume(len(seen) < _MOST_CONFIGURATIONS)
            for following in self._next(todo.pop()):
                if following not in seen:
                    seen.add(following)
                    todo.append(following)

    def _next(self, now: Configuration) -> Iterator[Configuration]:
        if not now.stack:
            self.ends.add(now.state)
            return
        *rest, node = now.stack
        below = tuple(rest)
        after = replace(now, stack=below)
        match node:
            case Event(kind):
                self.reached[node].add(World(now.state, now.facts))
                yield replace(after, state=self.table[now.state, kind])
            case Kill(ids):
                yield replace(after, facts=frozenset(fact for fact in now.facts if not fact[0].ids & ids))
            case Seq(items):
                yield replace(after, stack=(*below, *reversed(items)))
            case Branch(test, then, orelse):
                for truth, facts in decided(test, now.facts):
                    yield replace(after, stack=(*below, then if truth else orelse), facts=facts)
            case Loop(first=first):
                yield replace(after, stack=(*below, Again(node), first))
            case Again(loop):
                yield replace(after, stack=(*below, node, loop.later))
                if not loop.endless:
                    yield replace(after, stack=(*below, loop.orelse))
            case Call(body):
                yield replace(after, stack=(*below, Returned(), body))
            case Returned():
                yield after
            case Jump(JumpKind.RAISE):
                return
            case Jump(JumpKind.RETURN):
                yield replace(after, stack=unwound(below, Returned))
            case Jump(JumpKind.BREAK):
                yield replace(after, stack=unwound(below, Again))
            case Jump(JumpKind.CONTINUE):
                left = unwound(below, Again)
                yield replace(after, stack=(*left, below[len(left)]))


def unwound(stack: Stack, marker: type[Again | Returned]) -> Stack:
    """Return what is below the last marker; nothing if there is none."""
    places = [place for place, item in enumerate(stack) if isinstance(item, marker)]
    return stack[: places[-1]] if places else ()


def decided(test: Predicate, facts: Facts) -> Iterator[tuple[bool, Facts]]:
    """Yield how a condition can turn out, evaluated from left to right as Python does."""
    match test:
        case Known(truth):
            yield truth, facts
        case Not(operand):
            for truth, known in decided(operand, facts):
                yield not truth, known
        case Both(left, right):
            for truth, known in decided(left, facts):
                yield from decided(right, known) if truth else [(False, known)]
        case Atom():
            for truth in (True, False):
                if (test, not truth) not in facts:
                    yield truth, facts | {(test, truth)}


def without_kills(node: Node) -> Node:
    """Return a tree whose conditions never change."""
    return EMPTY if isinstance(node, Kill) else rebuilt(node, without_kills)


def unconditional(node: Node) -> Node:
    """Return a tree of which each condition is asked once, so that all paths through it are runs."""
    numbers = itertools.count()

    def freed(node: Node) -> Node:
        kept = rebuilt(node, freed)
        if not isinstance(kept, Branch) or isinstance(kept.test, Known):
            return kept
        ids = frozenset({f"{next(numbers)}"})
        return Seq((Kill(ids), replace(kept, test=Atom(*ids, ids))))

    return freed(node)


# The properties -----------------------------------------------------------------------------------


CHANGING = Atom("a", frozenset("x"))
STEP, BACKWARD = (Event(kind, Location("t.py", 1), None) for kind in (EventKind.STEP, EventKind.BACKWARD))


def renewed(idle: Node) -> Loop:
    """Return a loop in which nothing but `idle` renews the condition that decides between backward and step."""
    body = Seq((idle, Branch(CHANGING, BACKWARD, STEP)))
    return Loop(1, body, body, EMPTY)


RENEWAL = Kill(frozenset("x"))
IDLE_LOOP, IDLE_BRANCH = Loop(2, RENEWAL, RENEWAL, EMPTY), Branch(Atom("d"), RENEWAL, EMPTY)
BOTH_KINDS = frozenset({EventKind.STEP, EventKind.BACKWARD})


def interpreted(tree: Node, table: Table) -> Flow[int]:
    flow: Flow[int] = Flow(lambda state, event: table[state, event.kind])
    flow.run(tree, 0)
    return flow


def walked(tree: Node, table: Table) -> Machine:
    machine = Machine(table)
    machine.run(tree)
    return machine


def states(arrivals: Mapping[Event, set[World[int]]]) -> dict[Event, set[int]]:
    return {event: {world.state for world in worlds} for event, worlds in arrivals.items() if worlds}


@PROPERTY
@given(programs_as_trees(), TABLES)
def test_arrivals_are_exactly_what_some_run_reaches(tree: Node, table: Table) -> None:
    flow, machine = interpreted(tree, table), walked(tree, table)
    assert flow.arrivals == machine.reached
    assert flow.ends == machine.ends


def own(world: World[int]) -> Facts:
    """Return what a path has assumed, without the crowd."""
    return frozenset(fact for fact in world.facts if fact[0] in ATOMS)


@PROPERTY
@given(trees(3), trees(3), TABLES)
@example(EMPTY, STEP, COUNTING)
def test_no_run_is_lost_where_assumptions_are_dropped(before: Node, after: Node, table: Table) -> None:
    flow = interpreted(Seq((before, crowd(8, BACKWARD), after)), table)
    machine = walked(Seq((before, Branch(Atom("rare"), BACKWARD, EMPTY), after)), table)
    for event, worlds in machine.reached.items():
        for world in worlds:
            assert any(known.state == world.state and own(known) <= world.facts for known in flow.arrivals[event])
    assert flow.ends >= machine.ends


@PROPERTY
@given(programs_as_trees(), TABLES)
def test_interpreting_again_finds_the_same(tree: Node, table: Table) -> None:
    once, again = interpreted(tree, table), interpreted(tree, table)
    assert (once.arrivals, once.ends) == (again.arrivals, again.ends)


def only(kinds: Collection[EventKind]) -> Effect:
    """What happens to a subject that some kinds of events mean nothing to."""
    return lambda event: event.kind if event.kind in kinds else None


def interpreted_for(tree: Node, effect: Effect, table: Table) -> Flow[int]:
    flow: Flow[int] = Flow(lambda state, event: state if effect(event) is None else table[state, event.kind])
    flow.run(tree, 0)
    return flow


@PROPERTY
@given(programs_as_trees(), st.sets(st.sampled_from(KINDS), max_size=3), TABLES)
@example(renewed(IDLE_LOOP), BOTH_KINDS, COUNTING)
@example(renewed(IDLE_BRANCH), BOTH_KINDS, COUNTING)
def test_pruning_loses_no_run(tree: Node, kinds: Collection[EventKind], table: Table) -> None:
    effect = only(kinds)
    whole, kept = interpreted_for(tree, effect, table), interpreted_for(pruned(tree, effect), effect, table)
    before, after = states(whole.arrivals), states(kept.arrivals)
    for event, found in before.items():
        assert effect(event) is None or found <= after.get(event, set())
    assert whole.ends <= kept.ends


@PROPERTY
@given(programs_as_trees(), st.sets(st.sampled_from(KINDS), max_size=3), TABLES)
def test_pruning_adds_no_run_where_no_condition_is_renewed(
    tree: Node, kinds: Collection[EventKind], table: Table
) -> None:
    effect = only(kinds)
    tree = without_kills(tree)
    whole, kept = interpreted_for(tree, effect, table), interpreted_for(pruned(tree, effect), effect, table)
    after = states(kept.arrivals)
    assert {event: found for event, found in states(whole.arrivals).items() if effect(event) is not None} == after
    assert whole.ends == kept.ends


@PROPERTY
@given(programs_as_trees(), TABLES)
def test_forgetting_what_nobody_asks_any_more_changes_no_state(tree: Node, table: Table) -> None:
    whole, kept = interpreted(tree, table), interpreted(relevant(tree), table)
    assume(not whole.blurred)
    assert states(kept.arrivals) == states(whole.arrivals)
    assert kept.ends == whole.ends


def automaton(table: Table) -> Protocol:
    """Return a table as a protocol, whose states are called by their numbers."""
    edges = {(str(state), kind): Edge(str(after)) for (state, kind), after in table.items()}
    return Protocol("automaton", State("0"), edges, {})


@PROPERTY
@given(programs_as_trees(), st.sets(st.sampled_from(KINDS), max_size=3), TABLES)
def test_a_glance_misses_no_run(tree: Node, kinds: Collection[EventKind], table: Table) -> None:
    effect = only(kinds)
    for event, reached in states(interpreted_for(tree, effect, table).arrivals).items():
        for state in reached if effect(event) is not None else ():
            telling = lambda each, _, event=event, state=state: {str(state)} if each == event else ()
            assert may_reach(tree, automaton(table), effect, telling)


@PROPERTY
@given(programs_as_trees(), TABLES)
def test_a_glance_sees_nothing_that_no_path_reaches(tree: Node, table: Table) -> None:
    free, effect = unconditional(tree), only(KINDS)
    reached = states(interpreted_for(free, effect, table).arrivals)
    for event in set(events(free)):
        for state in {0, 1, 2} - reached.get(event, set()):
            telling = lambda each, _, event=event, state=state: {str(state)} if each == event else ()
            assert not may_reach(free, automaton(table), effect, telling)


def test_conditions_that_nobody_asks_again_do_not_multiply_paths() -> None:
    """Each of them is asked twice, and then never again; without that, there are more paths than assumptions are kept of."""
    asked = [Atom(f"{number}") for number in range(12)]
    tree = Seq(tuple(Branch(atom, BACKWARD, EMPTY) for atom in asked for _ in range(2)))
    assert interpreted(tree, COUNTING).blurred
    assert not interpreted(relevant(tree), COUNTING).blurred
