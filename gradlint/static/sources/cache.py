"""The cache on disk: values by key, shared by processes, bounded, and never needed.

It knows a database; it must not know what the values mean. It lies in the user's own cache folder, not in the project,
for a project that was downloaded must not bring its results along. Whatever goes wrong with it (a read-only or full
disk, a damaged file, another process that holds it for long), the check goes on without.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Mapping

_LARGEST = 128 * 1024 * 1024
"""When the values take more bytes than this, those that were not used for longest go."""
_PATIENCE = 2.0
"""Seconds to wait for another process."""
_NAME = "results-1.db"
_MOST_KEYS = 500
"""So many keys are asked for at once."""


def default_folder() -> str:
    """Return the folder of the cache: `GRADLINT_CACHE_DIR`, else one in the user's cache folder."""
    own = os.environ.get("GRADLINT_CACHE_DIR")
    if own:
        return own
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~/AppData/Local")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "gradlint")


class Cache:
    """Values by key in one file of a folder."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = folder
        self._file = os.path.join(folder, _NAME)

    def get(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the values of those keys that there are."""
        wanted = list(keys)
        found: dict[bytes, bytes] = {}

        def select(database: sqlite3.Connection) -> None:
            for begin in range(0, len(wanted), _MOST_KEYS):
                some = wanted[begin : begin + _MOST_KEYS]
                marks = ",".join("?" * len(some))
                found.update(database.execute(f"SELECT key, value FROM results WHERE key IN ({marks})", some))

        if os.path.isfile(self._file):
            self._do(select)
        return found

    def put(self, values: Mapping[bytes, bytes], used: Iterable[bytes] = ()) -> None:
        """Store values, and note that others were of use."""
        now = int(time.time())

        def insert(database: sqlite3.Connection) -> None:
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("CREATE TABLE IF NOT EXISTS results (key BLOB PRIMARY KEY, value BLOB, used INTEGER)")
            rows = ((key, value, now) for key, value in values.items())
            with database:
                database.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", rows)
                database.executemany("UPDATE results SET used = ? WHERE key = ?", ((now, key) for key in used))
                _bound(database)

        with contextlib.suppress(OSError):
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            self._do(insert)

    def clear(self) -> bool:
        """Delete the cache; tell whether there was one."""
        existed = os.path.isfile(self._file)
        for name in (_NAME, f"{_NAME}-journal"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self._folder, name))
        return existed

    def _do(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Do something with the database; what fails is as if it had not been asked for."""
        try:
            with contextlib.closing(sqlite3.connect(self._file, timeout=_PATIENCE)) as database:
                work(database)
        except sqlite3.OperationalError:
            pass  # Locked, read-only, full, or without a table: the next run may have more luck.
        except sqlite3.DatabaseError:
            with contextlib.suppress(OSError):
                os.unlink(self._file)  # It is damaged.


def _bound(database: sqlite3.Connection) -> None:
    """Let go of what was not used for longest, until half of the room is free."""
    (size,) = database.execute("SELECT COALESCE(SUM(LENGTH(value)), 0) FROM results").fetchone()
    if size <= _LARGEST:
        return
    oldest = database.execute("SELECT key, LENGTH(value) FROM results ORDER BY used").fetchall()
    gone = []
    for key, length in oldest:
        if size <= _LARGEST // 2:
            break
        gone.append((key,))
        size -= length
    database.executemany("DELETE FROM results WHERE key = ?", gone)
