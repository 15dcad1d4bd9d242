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
from contextlib import ExitStack, suppress
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
        self._now: tuple[int, CodeType, int] | None = None  # the line that runs, and the number at which it began

    def place(self, number: int) -> Location | None:
        """Return the line in which the node of that number was made, if it is known."""
        made = [*self._made, self._now] if self._now is not None else []
        index = bisect_right(made, number, key=lambda each: each[0]) - 1
        if index < 0 or get_ident() != self._thread or number >= self._clock():
            return None
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
        with suppress(OSError):  # who asks for the path of a file may find that there is no working directory
            self._listen(code)
        if sys.version_info >= (3, 12):
            return sys.monitoring.DISABLE
        return None

    def _begins(self, code: CodeType, row: int) -> None:
        """A line begins: what was made since the last one began is that one's."""
        if get_ident() == self._thread:
            now, number = self._now, self._clock()
            if now is not None and now[0] != number:
                self._made.append(now)
            self._now = number, code, row

    def _returns(self, code: CodeType, offset: int, value: object) -> None:
        """A function returns: the rest of the caller's line is under way."""
        with suppress(OSError):
            caller = user_frame(sys._getframe(1).f_back)
            if caller is not None:
                self._begins(caller.f_code, caller.f_lineno)
