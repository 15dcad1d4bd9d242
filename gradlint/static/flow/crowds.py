"""Crowds: trees with sequences so long that each of many subjects would go through what concerns others only."""

from __future__ import annotations

from collections.abc import Iterable

from gradlint.static.flow.kinship import Nearby, Whom
from gradlint.static.flow.tree import Event, Node, Seq, Uid, rebuilt, walk

MANY = 128
"""So many are looked at one by one."""


class Crowd:
    """A tree of which each subject gets the part that may concern it."""

    def __init__(self, tree: Node) -> None:
        self._tree = tree
        self._long = {id(each) for each in walk(tree) if isinstance(each, Seq) and len(each.items) > MANY}
        self._known: dict[tuple[int, Whom], Nearby[Node]] = {}

    def near(self, uids: Iterable[Uid], whom: Whom) -> Node:
        """Return the tree without most of the events that concern none of `uids`."""
        return self._kept(self._tree, tuple(uids), whom) if self._long else self._tree

    def _kept(self, node: Node, uids: tuple[Uid, ...], whom: Whom) -> Node:
        if not isinstance(node, Seq) or id(node) not in self._long:
            return rebuilt(node, lambda inner: self._kept(inner, uids, whom))
        near = self._nearby(node, whom).of(uids)
        return Seq(tuple(item if isinstance(item, Event) else self._kept(item, uids, whom) for item in near))

    def _nearby(self, seq: Seq, whom: Whom) -> Nearby[Node]:
        key = id(seq), whom
        if key not in self._known:
            self._known[key] = Nearby(seq.items, whom)
        return self._known[key]
