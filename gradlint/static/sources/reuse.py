"""What of an earlier run still holds: the key under which a result is kept, and what it rests on.

A result rests on gradlint itself and Python, on the settings, on the place and content of the file, and on everything
that the analysis asked the file system (`sights`). It must not know how results are made.

There are two sorts: the result of one file, found by content, and the report of a whole run, which is taken as it is if no
file or folder that had a hand in it has another stamp.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

import gradlint
from gradlint.config import Settings
from gradlint.data import dataclass
from gradlint.rulebook import rules_folder
from gradlint.static.report import Report
from gradlint.static.sources.sights import Stamp, digest_of, stamp_of, unimplied, untouched

if TYPE_CHECKING:
    from gradlint.static.sources.cache import Cache
    from gradlint.static.understanding import Callee

_T = TypeVar("_T")
_COARSEST = 2_000_000_000
"""Nanoseconds within which two changes of a file may have the same stamp."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The report of a run, with the answers and stamps that it rests on."""

    report: Report
    asked: tuple[tuple[str, str, bool], ...]
    stamps: tuple[tuple[str, Stamp], ...]


class Keys:
    """Makes keys that nothing but the same gradlint, Python, settings and working folder shares."""

    def __init__(self, settings: Settings) -> None:
        python = (sys.version, sys.flags.utf8_mode)
        self._base = digest_of(repr((gradlint.__version__, _installed(), *python, settings, os.getcwd())).encode())

    def of_run(self, paths: Sequence[str], *, force_exclude: bool) -> bytes:
        """Return the key of the report on these arguments."""
        return digest_of(repr((self._base, "run", tuple(paths), force_exclude)).encode())

    def of_file(self, path: str, digest: bytes, *, named: bool, callees: frozenset[Callee]) -> bytes:
        """Return the key of what is found in a file, or in one that is read because it may call one of `callees`."""
        parts = (self._base, "file", path, os.path.abspath(path), digest, named, sorted(callees))
        return digest_of(repr(parts).encode())


def recall(cache: Cache, key: bytes) -> Report | None:
    """Return the report of an earlier run if it would be the same now."""
    stored = cache.get([key]).get(key)
    snapshot = loaded(stored, Snapshot) if stored is not None else None
    return snapshot.report if snapshot is not None and untouched(snapshot.asked, snapshot.stamps) else None


def remember(
    cache: Cache,
    key: bytes,
    report: Report,
    began: int,
    asked: Iterable[tuple[str, str, bool]],
    stamps: Iterable[tuple[str, Stamp]],
) -> None:
    """Keep the report of a run that began at `began` (in nanoseconds), unless a file was being written at that time."""
    kept = tuple(stamps)
    if all(changed < began - _COARSEST for _, (changed, _) in kept):
        cache.put({key: dumped(Snapshot(report, tuple(unimplied(asked, kept)), kept))})


def dumped(value: object) -> bytes:
    """Return a value as bytes."""
    import pickle  # Without a cache nobody needs it.

    return pickle.dumps(value, protocol=5)


def loaded(data: bytes, kind: type[_T]) -> _T | None:
    """Return the value that bytes stand for; None for what is damaged."""
    import pickle

    try:
        value = pickle.loads(data)
    except Exception:  # noqa: BLE001 (damaged pickles raise whatever they like)
        return None
    return value if isinstance(value, kind) else None


def now() -> int:
    """Return the time that stamps are compared with, in nanoseconds."""
    return time.time_ns()


@functools.cache
def _installed() -> tuple[object, ...]:
    """Return what tells the gradlint that runs, with its models, pages and third-party rules, from any other."""
    files = [path for folder in (os.path.dirname(gradlint.__file__), rules_folder()) for path in _files(folder)]
    stamps = tuple((path, stamp_of(path)) for path in files)
    return stamps, tuple(name for path in sys.path for name in _distributions(path))


def _files(folder: str) -> list[str]:
    """Return what decides about findings in a folder and in those below it."""
    found = (os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)
    return sorted(path for path in found if path.endswith((".py", ".toml", ".md")))


def _distributions(folder: str) -> list[str]:
    """Return the distributions that are installed in a folder: any of them may bring rules along."""
    try:
        names = (entry.name for entry in os.scandir(folder or "."))
        return sorted(name for name in names if name.endswith((".dist-info", ".egg-info")))
    except OSError:
        return []
