"""Roots: what a file is read from, as flow trees, and the part of each that one subject follows."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cached_property

from gradlint.data import dataclass
from gradlint.events import EventKind
from gradlint.static.flow.crowds import MANY, Crowd
from gradlint.static.flow.following import bare
from gradlint.static.flow.kinship import Whom
from gradlint.static.flow.tree import Event, Node, Seq, Uid, events


@dataclass(frozen=True, eq=False)
class Root:
    """Something that is read from its first line: the module, or a function that nobody is seen to call.

    `followed` are the functions into which the reading went.
    """

    tree: Seq
    complete: bool
    node: ast.AST
    followed: frozenset[ast.AST]

    @cached_property
    def bare(self) -> Node:
        """The tree without what means nothing to anybody: whoever follows a subject has less to go through."""
        return bare(self.tree)

    def near(self, uids: Iterable[Uid], whom: Whom) -> Node:
        """Return the bare tree without most of the events that concern none of `uids`: of many subjects, each follows its own."""
        return self._crowd.near(uids, whom) if len(self.events) > MANY else self.bare

    @cached_property
    def events(self) -> list[Event]:
        """All its events."""
        return list(events(self.bare))

    def of(self, kind: EventKind) -> list[Event]:
        """Return its events of one kind, in order; whoever gets the list must not change it."""
        return self._by_kind.get(kind, [])

    @cached_property
    def _by_kind(self) -> dict[EventKind, list[Event]]:
        found: dict[EventKind, list[Event]] = {}
        for event in self.events:
            found.setdefault(event.kind, []).append(event)
        return found

    @cached_property
    def _crowd(self) -> Crowd:
        return Crowd(self.bare)
