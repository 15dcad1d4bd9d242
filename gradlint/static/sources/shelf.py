"""A shelf: what was made of files, as much of it as there is room for, the latest asked for.

It must not know what that is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Made = TypeVar("_Made")


class Shelf(Generic[_Key, _Made]):
    """Has room for `most` things of the size `room` together; the last one is kept whatever its size."""

    def __init__(self, room: int, most: int) -> None:
        self._room, self._most = room, most
        self._kept: dict[_Key, tuple[int, _Made]] = {}  # The latest asked for stands last.
        self._full = 0

    def get(self, key: _Key, size: int, make: Callable[[], _Made]) -> _Made:
        """Return what is kept under a key; else what is made now, which has a size."""
        known = self._kept.pop(key, None)
        if known is None:
            known = size, make()
            self._full += size
            while self._kept and (self._full > self._room or len(self._kept) >= self._most):
                gone, _ = self._kept.pop(next(iter(self._kept)))
                self._full -= gone
        self._kept[key] = known
        return known[1]

    def kept(self, key: _Key) -> _Made | None:
        """Return what is kept under a key, if it is there still."""
        known = self._kept.get(key)
        return None if known is None else known[1]
