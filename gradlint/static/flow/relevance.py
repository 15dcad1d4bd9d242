"""Relevance: how long it matters what a path has taken a condition to be: until no test of it can follow.

A tree is rewritten so that assumptions end there. It is run over the same paths and comes to the same states, but paths that
differ only in what nobody asks any more become one. It knows the tree only.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

from gradlint.data import dataclass
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
    Loop,
    Node,
    Not,
    Open,
    Predicate,
    Seq,
    atoms,
    walk,
)


def relevant(tree: Node) -> Node:
    """Return a tree whose paths forget each condition as soon as no test of it can follow."""
    tests = [each.test for each in walk(tree) if isinstance(each, Branch)]
    return _Rewriting(tests).rewritten(tree, 0, _Exits())[0] if tests else tree


@dataclass(frozen=True, slots=True)
class _Exits:
    """The conditions that are still to be tested where jumps lead."""

    brk: int = 0
    cont: int = 0
    ret: int = 0

    def of(self, kind: JumpKind) -> int:
        """Return those that may be tested after a jump."""
        match kind:
            case JumpKind.BREAK:
                return self.brk
            case JumpKind.CONTINUE:
                return self.cont
            case JumpKind.RETURN:
                return self.ret
            case JumpKind.RAISE:
                return 0


class _Rewriting:
    """One rewriting; a set of conditions is an integer, with a bit for each."""

    def __init__(self, tests: list[Predicate]) -> None:
        self._times = Counter(atom for test in tests for atom in atoms(test))
        self._bits = {atom: 1 << number for number, atom in enumerate(self._times)}
        self._marks = {bit: _mark(atom) for atom, bit in self._bits.items()}
        self._killed: defaultdict[str, int] = defaultdict(int)
        for atom, bit in self._bits.items():
            for id_ in atom.ids:
                self._killed[id_] |= bit

    def rewritten(self, node: Node, after: int, exits: _Exits) -> tuple[Node, int]:
        """Return a node rewritten, and the conditions that may be tested from its beginning on; behind it, `after` may be."""
        match node:
            case Seq(items):
                kept: list[Node] = []
                for item in reversed(items):
                    if type(item) is not Event:
                        item, after = self.rewritten(item, after, exits)
                    if item is not EMPTY:
                        kept.append(item)
                return _in_order(kept), after
            case Branch(test, then, orelse):
                return self._branch(test, self.rewritten(then, after, exits), self.rewritten(orelse, after, exits))
            case Loop(_, first, later, orelse):
                rest, ending = self.rewritten(orelse, after, exits)
                around = self._around(node, ending, after, exits)
                inside = _Exits(after, around, exits.ret)
                body, begin = self.rewritten(first, around, inside)
                again = body if later is first else self.rewritten(later, around, inside)[0]
                rest = self._begun(rest, around & ~ending)
                return replace(node, first=body, later=again, orelse=rest), begin
            case Call(body, ends):
                inner, begin = self.rewritten(body, after, _inside(ends, after, exits))
                return inner if inner is EMPTY else replace(node, body=inner), begin
            case Kill(ids) if self._killed.keys().isdisjoint(ids):
                return EMPTY, after
            case _:
                return node, self._before(node, after, exits)

    def _branch(self, test: Predicate, *sides: tuple[Node, int]) -> tuple[Node, int]:
        tested, times, later = 0, 0, 0
        for atom in atoms(test):
            tested |= self._bits[atom]
            times = max(times, self._times[atom])
        for _, begin in sides:
            later |= begin
        if times == 1 and not tested & later:
            # Nobody has asked this before, and nobody will again: it may be either.
            return _either(*(self._begun(side, later & ~begin) for side, begin in sides)), later
        live = tested | later
        return Branch(self._marked(test), *(self._begun(side, live & ~begin) for side, begin in sides)), live

    def _begun(self, node: Node, gone: int) -> Node:
        """Return a node at whose beginning conditions are forgotten."""
        if _raises(node):
            return node
        marks = set()
        while gone:
            bit = gone & -gone
            marks.add(self._marks[bit])
            gone ^= bit
        return Seq((Kill(frozenset(marks)), node)) if marks else node

    def _marked(self, test: Predicate) -> Predicate:
        match test:
            case Atom(ids=ids):
                return replace(test, ids=ids | {_mark(test)})
            case Not(operand):
                return Not(self._marked(operand))
            case Both(left, right):
                return Both(self._marked(left), self._marked(right))
            case _:
                return test

    def _before(self, node: Node, after: int, exits: _Exits) -> int:
        match node:
            case Kill(ids):
                for id_ in ids:
                    after &= ~self._killed.get(id_, 0)
                return after
            case Jump(kind):
                return exits.of(kind)
            case Seq(items):
                for item in reversed(items):
                    if type(item) is not Event:
                        after = self._before(item, after, exits)
                return after
            case Branch(test, then, orelse):
                begins = self._before(then, after, exits) | self._before(orelse, after, exits)
                for atom in atoms(test):
                    begins |= self._bits[atom]
                return begins
            case Loop(_, first, later, orelse):
                around = self._around(node, self._before(orelse, after, exits), after, exits)
                # What may be tested from the second turn on holds for the first one, too, if it is the same.
                return around if later is first else self._before(first, around, _Exits(after, around, exits.ret))
            case Call(body, ends):
                return self._before(body, after, _inside(ends, after, exits))
            case _:
                return after

    def _around(self, loop: Loop, ending: int, after: int, exits: _Exits) -> int:
        """Return the conditions that may be tested after a turn of a loop: once through it tells, as in any such analysis."""
        if loop.endless:
            ending = 0
        return ending | self._before(loop.later, ending, _Exits(after, ending, exits.ret))


def _inside(ends: JumpKind, after: int, exits: _Exits) -> _Exits:
    """Return where jumps lead in a call, or in one turn of an unrolled loop."""
    return replace(exits, cont=after) if ends is JumpKind.CONTINUE else _Exits(ret=after)


def _in_order(reverse: list[Node]) -> Node:
    """Return a sequence of nodes that are given from its end."""
    if len(reverse) == 1:
        return reverse[0]
    return Seq(tuple(reversed(reverse))) if reverse else EMPTY


def _either(then: Node, orelse: Node) -> Node:
    """Return a branch that may always go either way."""
    if then is orelse or _raises(orelse):
        return then
    return orelse if _raises(then) else Branch(Open(), then, orelse)


def _raises(node: Node) -> bool:
    """Whether nothing goes on behind a node, in which nothing happens."""
    return isinstance(node, Jump) and node.kind is JumpKind.RAISE


def _mark(atom: Atom) -> str:
    """Return an id on which only this condition depends."""
    return f"!{atom.key}"
