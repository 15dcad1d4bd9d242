"""Turns that are given up because of what a number is: nothing that happens on such a way out excuses what lacks on the others.

It knows the tree and the words of its conditions, neither states nor rules.
"""

from __future__ import annotations

from gradlint.events import EventKind
from gradlint.regex import regex
from gradlint.static.flow.tree import Branch, Jump, JumpKind, Node, Seq, atoms, events, rebuilt, walk

_NUMBER = regex(r"\b(?:isnan|isinf|isfinite)\b")
_OUT = (JumpKind.CONTINUE, JumpKind.RETURN, JumpKind.BREAK)


def without_giving_up(node: Node) -> Node:
    """Return a tree as it is while all numbers are finite: without the ways out of a turn that is given up."""
    if not any(isinstance(each, Branch) and _asks_for_numbers(each) for each in walk(node)):
        return node
    return _kept(node)


def _kept(node: Node) -> Node:
    if isinstance(node, Branch):
        for gone, other in ((node.then, node.orelse), (node.orelse, node.then)) if _asks_for_numbers(node) else ():
            if (_leaves(gone) and not _leaves(other)) or (_steps(other) and not _steps(gone)):
                return _kept(other)
    return rebuilt(node, _kept)


def _asks_for_numbers(branch: Branch) -> bool:
    return any(_NUMBER.search(atom.key) for atom in atoms(branch.test))


def _steps(node: Node) -> bool:
    return any(event.kind is EventKind.STEP for event in events(node))


def _leaves(node: Node) -> bool:
    """Whether a side of a branch ends in a jump out of the turn, or the call, that it is in."""
    last = node.items[-1] if isinstance(node, Seq) and node.items else node
    return isinstance(last, Jump) and last.kind in _OUT
