"""What is still done when a process is told to end by SIGTERM.

Must not know what is watched.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_installed: Any = None  # by us; a forked child inherits it


@contextlib.contextmanager
def terminated(tell: Callable[[], object]) -> Iterator[None]:
    """On SIGTERM, tell what was found and then end as if nobody had listened; only where nobody else does."""
    global _installed
    process = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() == process:
            tell()
        die_of(number)

    before = signal.getsignal(signal.SIGTERM)
    ours = threading.current_thread() is threading.main_thread() and before in (signal.SIG_DFL, _installed)
    if ours:
        _installed = end
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if ours and signal.getsignal(signal.SIGTERM) is end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def postponed() -> Iterator[None]:
    """Let SIGTERM wait until the block is over; only where `terminated` listens."""
    arrived: list[int] = []
    before = signal.getsignal(signal.SIGTERM)
    ours = before is _installed and threading.current_thread() is threading.main_thread()
    if ours:
        signal.signal(signal.SIGTERM, lambda number, frame: arrived.append(number))
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, before)
        if arrived:
            die_of(arrived[0])


def die_of(number: int) -> None:
    """End this process by a signal, so that whoever started it sees which."""
    sys.stdout.flush()
    sys.stderr.flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
