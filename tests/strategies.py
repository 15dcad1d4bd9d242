"""Hypothesis strategies: random flow trees, and random small training programs as Python source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from hypothesis import strategies as st

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.static.flow.tree import (
    EMPTY,
    Atom,
    Both,
    Branch,
    Call,
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
)

# Flow trees ---------------------------------------------------------------------------------------

KINDS = (EventKind.ZERO, EventKind.BACKWARD, EventKind.STEP, EventKind.ESCAPE)
ATOMS = (Atom("a", frozenset("x")), Atom("b", frozenset("y")), Atom("c", frozenset("xy")), Atom("d"))

_LEAVES = st.one_of(
    # Few places: equal events in several spots of a tree share their arrivals.
    st.builds(
        lambda kind, row: Event(kind, Location("t.py", row), frozenset({("module", "optimizer")})),
        st.sampled_from(KINDS),
        st.integers(1, 6),
    ),
    st.builds(Kill, st.sets(st.sampled_from("xy"), min_size=1).map(frozenset)),
)


def predicates() -> st.SearchStrategy[Predicate]:
    """Conditions over a few atoms, so that they often are correlated."""
    leaves: st.SearchStrategy[Predicate] = st.sampled_from(ATOMS) | st.builds(Known, st.booleans())
    return st.recursive(leaves, lambda inner: st.builds(Not, inner) | st.builds(Both, inner, inner), max_leaves=3)


@st.composite
def trees(draw: st.DrawFn, depth: int = 4, loops: bool = False) -> Node:
    """Flow trees as lowering could make them: `break` and `continue` only inside of loops."""
    jumps = [JumpKind.RETURN, JumpKind.RAISE, *([JumpKind.BREAK, JumpKind.CONTINUE] * 2 if loops else ())]
    shapes = ("leaf", "leaf", "jump", "seq", "branch", "loop", "call") if depth else ("leaf", "leaf", "leaf", "jump")
    match draw(st.sampled_from(shapes)):
        case "leaf":
            return draw(_LEAVES)
        case "jump":
            return Jump(draw(st.sampled_from(jumps)))
        case "seq":
            return Seq(tuple(draw(st.lists(trees(depth - 1, loops), max_size=4))))
        case "branch":
            sides = trees(depth - 1, loops)
            return Branch(draw(predicates()), draw(sides), draw(sides))
        case "loop":
            first = draw(trees(depth - 1, True))
            later = draw(trees(depth - 1, True)) if draw(st.booleans()) else first
            return Loop(depth, first, later, draw(trees(depth - 1, loops)), endless=draw(st.booleans()))
        case _:
            return Call(draw(trees(depth - 1, False)))


def programs_as_trees(depth: int = 4) -> st.SearchStrategy[Seq]:
    """Trees with several parts one after another, as a module has."""
    return st.lists(trees(depth), min_size=1, max_size=5).map(lambda items: Seq(tuple(items)))


def crowd(size: int, rare: Node) -> Node:
    """Conditions that split one path into 2**size, on one of which `rare` is met."""
    if not size:
        return rare
    return Branch(Atom(f"crowd {size}"), crowd(size - 1, rare), crowd(size - 1, EMPTY))


# Training programs --------------------------------------------------------------------------------

MODEL, OTHER = "model", "other"
OPTIMIZER, OTHER_OPTIMIZER, SCHEDULER = "optimizer", "other_optimizer", "scheduler"


@dataclass(frozen=True)
class Act:
    """What a line of a program does: an event on some subjects."""

    kind: EventKind
    on: frozenset[str]


ACTS = {
    "optimizer.zero_grad()": Act(EventKind.ZERO, frozenset({OPTIMIZER})),
    "model.zero_grad()": Act(EventKind.ZERO, frozenset({OPTIMIZER})),
    "model(x).sum().backward()": Act(EventKind.BACKWARD, frozenset({OPTIMIZER})),
    "optimizer.step()": Act(EventKind.STEP, frozenset({OPTIMIZER})),
    "scheduler.step()": Act(EventKind.SCHEDULE, frozenset({SCHEDULER})),
    "model.eval()": Act(EventKind.EVAL, frozenset({MODEL})),
    "model.train()": Act(EventKind.TRAIN, frozenset({MODEL})),
}
"""The lines that matter to the protocols, for one optimizer; each stands alone on its line."""

OTHER_ACTS = {
    "other_optimizer.zero_grad()": Act(EventKind.ZERO, frozenset({OTHER_OPTIMIZER})),
    "other(x).sum().backward()": Act(EventKind.BACKWARD, frozenset({OTHER_OPTIMIZER})),
    "(model(x) + other(x)).sum().backward()": Act(EventKind.BACKWARD, frozenset({OPTIMIZER, OTHER_OPTIMIZER})),
    "other_optimizer.step()": Act(EventKind.STEP, frozenset({OTHER_OPTIMIZER})),
}
"""And those for a second one, with a model of its own."""

_HEAD = """\
import torch
from torch import nn

torch.manual_seed(0)
x = torch.ones(4, 2)
"""

_MADE = """\
model = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.1), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3)
"""

SETTING = f"{_HEAD}{_MADE}flag = False"
"""What a program of one optimizer begins with."""

_OTHER_MADE = """\
other = nn.Linear(2, 1)
other_optimizer = torch.optim.SGD(other.parameters(), lr=0.01)
"""


@dataclass(frozen=True)
class Block:
    """A compound statement: its first line without the colon, and what is below it."""

    header: str
    body: tuple[Statement, ...]


Statement: TypeAlias = "str | Block"


@dataclass(frozen=True)
class Program:
    """A training program as source."""

    source: str

    @property
    def acts(self) -> dict[int, Act]:
        """What its lines do, by row."""
        known = ACTS | OTHER_ACTS
        lines = enumerate(self.source.splitlines(), 1)
        return {row: known[line.strip()] for row, line in lines if line.strip() in known}

    @property
    def two(self) -> bool:
        """Whether there is a second optimizer."""
        return OTHER_OPTIMIZER in self.source


@dataclass(frozen=True)
class _Scope:
    """Where a statement is written: the loop variables in sight, and what may be said there."""

    acts: tuple[str, ...]
    counters: tuple[str, ...] = ()
    helpers: tuple[str, ...] = ()
    loops: int = 0
    depth: int = 3
    function: bool = False
    flag: bool = True


def _tests(scope: _Scope) -> st.SearchStrategy[str]:
    counters = [
        test.format(counter)
        for counter in scope.counters
        for test in ("{} % 2 == 0", "{} % 3 == 1", "{} == 0", "{} != 0", "{} > 1")
    ]
    plain = st.sampled_from([*counters, *(["flag"] if scope.flag else [])])
    return st.one_of(
        plain,
        plain,
        plain.map(lambda test: f"not {test}"),
        st.builds("{} {} {}".format, plain, st.sampled_from(["and", "or"]), plain),
    )


@st.composite
def _statements(draw: st.DrawFn, scope: _Scope) -> tuple[Statement, ...]:
    parts = draw(st.lists(_statement(scope), min_size=1, max_size=5 if scope.depth > 1 else 3))
    return tuple(statement for part in parts for statement in part)


@st.composite
def _statement(draw: st.DrawFn, scope: _Scope) -> tuple[Statement, ...]:
    shapes = ["act"] * 6
    shapes += ["helper"] * 2 if scope.helpers and scope.counters else []
    shapes += ["flag"] if scope.flag and scope.counters else []
    shapes += ["if", "if", "jump"] if scope.counters and scope.depth else []
    shapes += ["for", "for", "while"] if scope.depth and scope.loops < 2 else []
    inner = replace(scope, depth=scope.depth - 1)
    match draw(st.sampled_from(shapes)):
        case "act":
            return (draw(st.sampled_from(scope.acts)),)
        case "helper":
            return (f"{draw(st.sampled_from(scope.helpers))}({draw(st.sampled_from(scope.counters))})",)
        case "flag":
            test = draw(_tests(scope))
            return (f"flag = {draw(st.sampled_from(['True', 'False', test, test]))}",)
        case "if":
            then = Block(f"if {draw(_tests(scope))}", draw(_statements(inner)))
            return (then, *([Block("else", draw(_statements(inner)))] if draw(st.booleans()) else []))
        case "jump":
            jumps = [
                *(["continue", "continue", "break"] if scope.loops else []),
                *(["return"] if scope.function else []),
            ]
            return (Block(f"if {draw(_tests(scope))}", (draw(st.sampled_from(jumps or ["pass"])),)),)
        case kind:
            return draw(_loop(inner, kind))


@st.composite
def _loop(draw: st.DrawFn, scope: _Scope, kind: str) -> tuple[Statement, ...]:
    counter = ("i", "j")[scope.loops] + ("_" if scope.function else "")
    inner = replace(scope, counters=(counter, *scope.counters), loops=scope.loops + 1)
    times = draw(st.sampled_from([1, 2, 2, 3, 4] if scope.loops else [2, 3, 4, 5, 16]))
    body = draw(_statements(inner))
    if kind == "for":
        return (Block(f"for {counter} in range({times})", body),)
    if draw(st.booleans()):
        return (f"{counter} = -1", Block(f"while {counter} < {times - 1}", (f"{counter} += 1", *body)))
    stop = Block(f"if {counter} == {times}", ("break",))
    return (f"{counter} = -1", Block("while True", (f"{counter} += 1", stop, *body)))


def _rendered(statements: Iterable[Statement], indent: str = "") -> Iterator[str]:
    for statement in statements:
        match statement:
            case Block(header, body):
                yield f"{indent}{header}:"
                yield from _rendered(body, indent + "    ")
            case line:
                yield indent + line


@st.composite
def programs(draw: st.DrawFn, two: bool | None = None) -> Program:
    """Training programs that run, in which the acts stand in any order and nesting."""
    two = draw(st.integers(0, 3)) == 0 if two is None else two
    acts = (*ACTS, *list(ACTS)[:4], *(OTHER_ACTS if two else ()))
    if draw(st.booleans()):
        acts = acts[:4] + acts[7:]
    helpers = ("learn", "update")[: draw(st.integers(0, 2))]
    defined = []
    for number, name in enumerate(helpers):
        scope = _Scope(acts, ("n",), helpers[:number], depth=2, function=True, flag=False)
        defined.append(Block(f"def {name}(n)", draw(_statements(scope))))
    outside = _Scope(acts, (), helpers)
    before = draw(st.lists(st.sampled_from(acts), max_size=2))
    loops = draw(st.lists(st.sampled_from(["for", "for", "while"]), min_size=1, max_size=2))
    made = f"{_MADE}{_OTHER_MADE if two else ''}".splitlines()
    body = [*made, "flag = False", *defined, *before, *(item for kind in loops for item in draw(_loop(outside, kind)))]
    if draw(st.booleans()):
        body = [Block("def main()", tuple(body)), "main()"]
    return Program("\n".join([_HEAD, *_rendered(body), ""]))
