"""Which line of the user's was running when a node of the graph was made, after the lines of nodes are no longer recorded.

Python 3.12 and later tell when a line begins (`sys.monitoring`), and each node carries the number at which it was made:
so it is enough to keep, for each line in which numbers were used up, where they began. Only the user's code is
listened to, in one thread, since numbers count by thread. Must not know rules, events or torch.

Example: line 7 begins at number 40 and line 8 at 43: nodes 40 to 42 were made by line 7.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from threading import get_ident
from types import CodeType
from typing import Any

from gradlint.diagnostics import Location
from gradlint.runtime.sites import Origin, frames, origin_of, user_frame

_REMEMBERED = 4096
_FREE_IDS = (3, 4)  # those that Python gives to nobody in particular


class LineClock:
    """Keeps the lines that made the latest nodes; `clock` returns the number that the next node gets."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._thread = get_ident()
        self._made: deque[tuple[int, CodeType, int]] = deque(maxlen=_REMEMBERED)
        self._codes: list[CodeType] = []
        self._tool: int | None = None
        self._line: tuple[CodeType, int] | None = None
        self._began = 0

    def place(self, number: int) -> Location | None:
        """Return the line in which the node of that number was made, if it is known."""
        made = list(self._made)
        index = bisect_right(made, number, key=lambda each: each[0]) - 1
        if index < 0 or get_ident() != self._thread or number >= self._clock():
            return None
        if index == len(made) - 1 and number >= self._began:
            return None if self._line is None else Location(self._line[0].co_filename, self._line[1])
        _, code, row = made[index]
        return Location(code.co_filename, row)

    def start(self, stack: ExitStack) -> None:
        """Begin to listen, where Python can tell and somebody else does not use up what it takes; `stack` ends it."""
        if sys.version_info >= (3, 12) and self._tool is None:
            monitoring = sys.monitoring
            self._tool = next((each for each in _FREE_IDS if monitoring.get_tool(each) is None), None)
            if self._tool is None:
                return
            monitoring.use_tool_id(self._tool, "gradlint")
            stack.callback(self._stop)
            self._began = self._clock()
            monitoring.register_callback(self._tool, monitoring.events.PY_START, self._function)
            monitoring.register_callback(self._tool, monitoring.events.LINE, self._begins)
            monitoring.register_callback(self._tool, monitoring.events.PY_RETURN, self._returns)
            for frame in frames(sys._getframe(1)):
                self._listen(frame.f_code)
            monitoring.set_events(self._tool, monitoring.events.PY_START)
            monitoring.restart_events()  # what an earlier listener of this number had switched off

    def _stop(self) -> None:
        if sys.version_info >= (3, 12) and self._tool is not None:
            monitoring, tool, self._tool = sys.monitoring, self._tool, None
            monitoring.set_events(tool, 0)
            for code in self._codes:
                monitoring.set_local_events(tool, code, 0)
            monitoring.free_tool_id(tool)

    def _listen(self, code: CodeType) -> None:
        """Hear of the lines of a piece of code, if the user wrote it."""
        if sys.version_info >= (3, 12) and self._tool is not None and origin_of(code) is Origin.USER:
            self._codes.append(code)
            events = sys.monitoring.events
            sys.monitoring.set_local_events(self._tool, code, events.LINE | events.PY_RETURN)

    def _function(self, code: CodeType, offset: int) -> Any:
        """A function is called, for the first time since it is listened to; never again for this one."""
        self._listen(code)
        if sys.version_info >= (3, 12):
            return sys.monitoring.DISABLE
        return None

    def _begins(self, code: CodeType, row: int) -> None:
        """A line begins."""
        if get_ident() == self._thread:
            self._note(code, row)

    def _returns(self, code: CodeType, offset: int, value: object) -> None:
        """A function returns: the rest of the caller's line is under way."""
        caller = user_frame(sys._getframe(1).f_back)
        if caller is not None and get_ident() == self._thread:
            self._note(caller.f_code, caller.f_lineno)

    def _note(self, code: CodeType, row: int) -> None:
        """Another line runs from now on: what was made since the last one is that one's."""
        number = self._clock()
        if number != self._began and self._line is not None:
            self._made.append((self._began, *self._line))
        self._began = number
        self._line = code, row
