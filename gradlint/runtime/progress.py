"""One line on a terminal about a long run that is being recorded; nothing where nobody is looking.

The line leaves the cursor at its beginning, so whatever the program prints next takes its place.
Must not know what is recorded.
"""

from __future__ import annotations

import os
from time import monotonic
from typing import TextIO

_PATIENCE = 2.0  # seconds before the first line, and between two
_CLEAR = "\r\x1b[K"


class Progress:
    """Tells how many iterations are over, and how fast they come."""

    def __init__(self, stream: TextIO | None) -> None:
        terminal = stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
        self._stream = stream if terminal else None
        self._process = os.getpid()
        self._last = (monotonic(), 0)
        self._shown = False

    def tick(self, number: int) -> None:
        """Iteration `number` is over."""
        if self._stream is None:
            return
        now = monotonic()
        then, before = self._last
        if now - then >= _PATIENCE and os.getpid() == self._process:
            rate = (number - before) / (now - then)
            self._last, self._shown = (now, number), True
            self._stream.write(f"{_CLEAR}gradlint records: iteration {number}, {rate:.3g} a second\r")
            self._stream.flush()

    def end(self) -> None:
        """Take the line away."""
        if self._stream is not None and self._shown and os.getpid() == self._process:
            self._shown = False
            self._stream.write(_CLEAR)
            self._stream.flush()
