"""Training in processes that the run starts, by `multiprocessing` or a command: each is watched, and leaves a record.

Workers of a data loader train nothing and are left alone. A child that ends by `os._exit` or by a signal that cannot be
caught leaves no record. Must not know how records are merged.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import process
from pathlib import Path
from typing import Any

from gradlint import records
from gradlint.runtime import Report, watch
from gradlint.runtime.gathering import Gathering
from gradlint.runtime.termination import terminated
from gradlint.stowaways import Around, boarding, commands

_HOME = f"{__name__}:watched"
_COMMANDS_HOME = f"{__name__}:attend"
_WORKERS = "torch.utils.data"

_current: Report | None = None  # a forked child inherits it


@contextlib.contextmanager
def children(report: Report, gathering: Gathering) -> Iterator[None]:
    """Let the children of this process be watched; their records lie beside its own."""
    global _current
    _current = report
    try:
        luggage = (str(gathering.folder), gathering.name)
        with boarding(_HOME, luggage, needs="torch"), commands(_COMMANDS_HOME, luggage):
            yield
    finally:
        _current = None


def at_work() -> bool:
    """Tell whether children are running whose end Python itself will wait for; the workers of a pool only wait for work."""
    threads = getattr(sys.modules.get("concurrent.futures.process"), "_threads_wakeups", {})
    pooled = {pid for thread in list(threads) for pid in list(getattr(thread, "processes", None) or ())}
    return any(not child.daemon and child.pid not in pooled for child in process.active_children())


def watched(folder: str, parent: str) -> Around:
    """Return what surrounds the work of a child of the process whose record is `parent`."""

    def around(child: Any, work: Callable[[], Any]) -> Any:
        if str(getattr(getattr(child, "_target", None), "__module__", "")).startswith(_WORKERS):
            return work()
        if _current is not None:
            _current.abandon()
        return _work(work, _gathering(folder, parent))

    return around


def attend(folder: str, parent: str) -> None:
    """Watch this process, which the process whose record is `parent` has started by a command, until it ends."""
    gathering, staying = _gathering(folder, parent), contextlib.ExitStack()
    report = staying.enter_context(watch(output=None))
    staying.enter_context(children(report, gathering))
    staying.enter_context(terminated(lambda: _leave(report, gathering, ended=False)))

    def end() -> None:
        failed = hasattr(sys, "last_value")
        if failed:
            report.interrupt()
        _leave(report, gathering, ended=not failed)
        staying.close()

    atexit.register(end)


def _gathering(folder: str, parent: str) -> Gathering:
    name = f"{parent}-child-{os.getpid()}-{time.monotonic_ns()}"
    return Gathering(Path(folder), name, None, (name,), False, False)


def _work(work: Callable[[], Any], gathering: Gathering) -> Any:
    with watch(output=None) as report, children(report, gathering):
        with terminated(lambda: _leave(report, gathering, ended=False)):
            code = work()
            if code:
                report.interrupt()
        _leave(report, gathering, ended=not code)
    return code


def _leave(report: Report, gathering: Gathering, *, ended: bool) -> None:
    """Write the record of this child, if it has trained anything; there is no folder any more once the report is out."""
    report.finish()
    record = report.record(_rank(), ended=ended)
    if record.steps or record.found or record.failure:
        try:
            records.write(record, gathering.folder, gathering.name)
        except FileNotFoundError:
            pass
        except OSError as error:
            print(f"gradlint: what process {os.getpid()} did cannot be told: {error}", file=sys.stderr)


def _rank() -> int | None:
    """Return the rank that the launcher gave to this process or its parent, if any."""
    rank = os.environ.get("RANK", "")
    return int(rank) if rank.isdigit() and os.environ.get("WORLD_SIZE", "1") != "1" else None
