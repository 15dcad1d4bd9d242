"""Hypothesis strategies: random flow trees, and random small training programs as Python source."""

from __future__ import annotations

from hypothesis import strategies as st

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.static.tree import (
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


def crowd(size: int) -> Seq:
    """Conditions that split one path into 2**size, and nothing else."""
    return Seq(tuple(Branch(Atom(f"crowd {number}"), EMPTY, EMPTY) for number in range(size)))
