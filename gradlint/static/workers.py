"""Processes that share the work on many files, where that pays.

It must not know what the work is.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from gradlint.garbage import collector_paused

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_FEW = 32
"""So many items are done before another process would have started."""
_CHUNK = 16
"""So many items go to a worker at once."""
_MOST = 16


class Workers:
    """Up to `jobs` processes (0: one per processor)."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs or min(_MOST, _processors())

    def map(self, work: Callable[[_Item], _Result], items: Sequence[_Item]) -> Iterator[_Result]:
        """Yield the results in order; what other processes cannot do, this one does."""
        done = 0
        if self._jobs > 1 and len(items) >= _FEW:
            from concurrent.futures import ProcessPoolExecutor
            from concurrent.futures.process import BrokenProcessPool

            try:
                with ProcessPoolExecutor(self._jobs) as pool:
                    for results in pool.map(functools.partial(all_of, work), chunks(items)):
                        for result in results:
                            yield result
                            done += 1
            except (BrokenProcessPool, OSError, ImportError):
                # A worker was killed, or this system has no semaphores.
                pass
        yield from map(work, items[done:])


def all_of(work: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """Return the results of some items."""
    with collector_paused():
        return [work(item) for item in items]


def chunks(items: Sequence[_Item]) -> list[Sequence[_Item]]:
    """Return the items in parts, one for each errand of a worker."""
    return [items[begin : begin + _CHUNK] for begin in range(0, len(items), _CHUNK)]


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
