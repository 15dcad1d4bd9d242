"""Kinship: who is a part of whom, by uids alone.

It looks at the targets of an event, never at its kind, and knows no protocol.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Generic, TypeAlias, TypeVar

from gradlint.static.flow.tree import Event, Node, Uid

N = TypeVar("N", bound=Node)

Whom: TypeAlias = Callable[[Event], "Collection[Uid] | None"]
"""Whom an event may concern, of all subjects of one sort; None: each of them."""

_FEW = 4
"""So many targets are compared one by one."""


def overlap(a: Uid, b: Uid) -> bool:
    """Whether one is a part of the other."""
    return a == b[: len(a)] if len(a) <= len(b) else a[: len(b)] == b


def any_overlap(some: Iterable[Uid], others: Iterable[Uid]) -> bool:
    """Whether any of `some` is a part of any of `others`, or the other way round."""
    for a in some:
        for b in others:
            if overlap(a, b):
                return True
    return False


@functools.lru_cache(maxsize=1024)
def _wholes(uids: frozenset[Uid]) -> frozenset[Uid]:
    """Return those that any of `uids` is, or belongs to."""
    # Each of many subjects asks the same events in turn, so that few are still known: a union of known sets costs little.
    return frozenset().union(*map(_wholes_of, uids))


@functools.lru_cache(maxsize=1 << 14)
def _wholes_of(uid: Uid) -> frozenset[Uid]:
    return frozenset(uid[:length] for length in range(len(uid) + 1))


class Kin:
    """Subjects of which it is asked again and again who is a part of whom: the answer takes no look at each of them."""

    def __init__(self, uids: Iterable[Uid]) -> None:
        self._uids = frozenset(uids)
        self._parts: dict[Uid, list[Uid]] = defaultdict(list)
        for uid in self._uids:
            for length in range(len(uid) + 1):
                self._parts[uid[:length]].append(uid)

    def wholes(self, uid: Uid) -> list[Uid]:
        """Return those that are `uid` or that it belongs to."""
        return [uid[:length] for length in range(len(uid) + 1) if uid[:length] in self._uids]

    def parts(self, uid: Uid) -> Sequence[Uid]:
        """Return those that are `uid` or belong to it."""
        return self._parts.get(uid, ())

    def overlapping(self, uid: Uid) -> set[Uid]:
        """Return those that are a part of `uid` or the other way round."""
        return {*self.wholes(uid), *self.parts(uid)}


class Nearby(Generic[N]):
    """Events, and what is none, by whom they may concern: whoever asks about one of many subjects need not go through all of them."""

    def __init__(self, items: Sequence[N], whom: Whom) -> None:
        self._items = items
        self._at: dict[Uid, list[int]] = defaultdict(list)
        self._below: dict[Uid, list[int]] = defaultdict(list)
        self._everybody: list[int] = []
        for index, item in enumerate(items):
            uids = whom(item) if isinstance(item, Event) else None
            if uids is None or len(uids) > _FEW:
                self._everybody.append(index)
                continue
            for uid in uids:
                self._at[uid].append(index)
                for length in range(1, len(uid)):
                    self._below[uid[:length]].append(index)

    def of(self, uids: Iterable[Uid]) -> list[N]:
        """Return what may concern any of `uids`, and some others, in order."""
        found = set(self._everybody)
        for uid in uids:
            found.update(self._below.get(uid, ()))
            for length in range(1, len(uid) + 1):
                found.update(self._at.get(uid[:length], ()))
        return [self._items[index] for index in sorted(found)]


def name_of(uid: Uid) -> str:
    """Return how the file calls somebody, known or not (nothing where it has no name)."""
    return re.split("[#@%]", uid[-1].rpartition("/")[2])[0].rpartition(".")[2]


def within(part: Uid, whole: Uid) -> bool:
    """Whether `part` is `whole` or belongs to it."""
    return part[: len(whole)] == whole


def is_within_any(part: Uid, wholes: frozenset[Uid]) -> bool:
    """Whether `part` is one of `wholes` or belongs to it."""
    return not wholes.isdisjoint(_wholes_of(part))


def touches(event: Event, uids: Collection[Uid]) -> bool:
    """Whether an event's targets have to do with any of `uids`; an event on somebody unknown has."""
    targets = event.targets
    if targets is None:
        return True
    if len(targets) <= _FEW:
        return any_overlap(targets, uids)
    # What escapes may be hundreds, and each of many subjects is looked for among them.
    if any(is_within_any(uid, targets) for uid in uids):
        return True
    wholes = _wholes(targets)
    return any(uid in wholes for uid in uids)
