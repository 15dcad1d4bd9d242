"""What a recording calls the objects that act: as the user called each when it was first seen, and no two alike.

Knows frames; must not know what is recorded.
"""

from __future__ import annotations

import weakref
from types import FrameType
from typing import Any

from gradlint.runtime.graph import bindings
from gradlint.runtime.sites import Origin, name_of, origin_of, user_frame


class Names:
    """The names that have been given."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], str]] = {}

    def of(self, value: Any, frame: FrameType) -> str:
        """Return what the user called `value` when it was first seen; what had the name before may still want it."""
        known = self._known.get(id(value))
        if known is not None and known[0]() is value:
            return known[1]
        caller = user_frame(frame)
        name = name_of(value, caller)
        taken = {used for each, used in self._known.values() if _is_held(each(), caller)}
        free = next(each for each in (name, *(f"{name}#{n}" for n in range(2, len(taken) + 3))) if each not in taken)
        self._known[id(value)] = weakref.ref(value), free
        return free


def _is_held(value: Any, frame: FrameType | None) -> bool:
    """Tell whether something that had a name is still in use: one that was built anew leaves its old self to the collector.

    What a library holds cannot be looked for.
    """
    if value is None or frame is None or origin_of(frame.f_code) is not Origin.USER:
        return value is not None
    return any(
        each is value or (isinstance(each, list | tuple) and any(item is value for item in each))
        for _, each in bindings(frame)
    )
