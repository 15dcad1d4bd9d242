"""A run over many files: which of them are read, by whom, and what of an earlier run is taken as it is.

It knows files, workers and results; it must not know what a result says.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, TypeVar

from gradlint.config import Settings, find_settings
from gradlint.data import dataclass
from gradlint.garbage import collector_paused
from gradlint.static.engine import look_at, report
from gradlint.static.findings import FileFindings, driven, excusable, project_findings
from gradlint.static.plugins import third_party
from gradlint.static.report import Report
from gradlint.static.sources import discovery, reuse
from gradlint.static.sources.discovery import Candidate
from gradlint.static.sources.reading import UNREADABLE
from gradlint.static.sources.sights import NOTHING, Recheck, Stamp, digest_of, stamp_of
from gradlint.static.understanding import Callee
from gradlint.static.workers import Workers, all_of, chunks

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from gradlint.static.sources.cache import Cache

_T = TypeVar("_T")

Progress = Callable[[int, int], None]
"""Is told how many files are done, of how many."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What came of a file, and the content that it was found in; no `findings`: it was not worth an analysis."""

    digest: bytes
    findings: FileFindings | None

    @property
    def certain(self) -> bool:
        """Whether it would come out the same again: a failure may have other reasons than the files."""
        return self.findings is None or not any(each.diagnostic.code == UNREADABLE for each in self.findings.found)


def check_paths(
    paths: Iterable[str | os.PathLike[str]],
    settings: Settings | None = None,
    *,
    executor: Executor | None = None,
    force_exclude: bool = False,
    cache: Cache | None = None,
    progress: Progress | None = None,
    jobs: int = 1,
) -> Report:
    """Check files and the Python files below folders.

    Without `settings`, those of the pyproject.toml nearest to the first path apply. With an `executor` the files are
    spread over it; it may be that of a cluster. `force_exclude` lets `exclude` apply to `paths` themselves too. With a
    `cache`, files are analyzed only where something that their result rests on has changed. `progress` is told how many
    files are done, of how many. Without an executor, up to `jobs` processes (0: one per processor) share many files. Raises
    SettingsError if the pyproject.toml cannot be followed.
    """
    named = [os.fspath(path) for path in paths]
    if settings is None:
        settings = find_settings(named[0] if named else ".")
    if cache is not None and third_party():
        cache = None  # Nobody can tell when the rules of others change.
    with collector_paused():
        workers = executor or Workers(jobs)
        return _Run(settings, workers, cache, progress or _nobody).report(named, force_exclude=force_exclude)


def _nobody(done: int, of: int) -> None:
    """Tell nobody."""


@dataclass()
class _Run:
    """What is read, by whom, and what of it is known already."""

    settings: Settings
    executor: Executor | Workers
    cache: Cache | None
    progress: Progress
    recheck: Recheck = field(default_factory=Recheck)

    @functools.cached_property
    def keys(self) -> reuse.Keys:
        """The keys of this gradlint under these settings."""
        return reuse.Keys(self.settings)

    def report(self, named: Sequence[str], *, force_exclude: bool) -> Report:
        """Return what is found below the paths `named`."""
        began, trail = reuse.now(), discovery.Trail()
        files = list(discovery.discover(named, self.settings, force_exclude=force_exclude, trail=trail))
        stamps = [(file.path, stamp_of(file.path)) for file in files] if self.cache is not None else []
        results = self._results(files, frozenset())
        quiet = [file for file, result in zip(files, results, strict=True) if result is None or not result.whole]
        found = self._with_callers([result for result in results if result is not None], quiet)
        made = report(project_findings(found, self.settings), len(files))
        if self.cache is not None and not made.failed:
            asked = {*trail.asked, *(each for file in found for each in file.answers.asked)}
            stamps += [*trail.stamps, *((path, stamp) for file in found for path, stamp, _ in file.answers.read)]
            key = self.keys.of_run(named, force_exclude=force_exclude)
            reuse.remember(self.cache, key, made, began, asked, _absolute(stamps))
        return made

    def _with_callers(self, found: list[FileFindings], quiet: Sequence[Candidate]) -> list[FileFindings]:
        """Return what was found with what is to be said of `quiet` files: no rule finds anything there, but they may call.

        They are read only as far as somebody asks: where something trains that they may set in motion, and where a
        finding stands only as long as no caller is in sight.
        """
        ask: Callable[[Iterable[FileFindings]], frozenset[Callee]]
        for ask in (driven, excusable):
            asked: frozenset[Callee] = frozenset()
            while quiet and (names := ask(found) - asked):
                asked |= names
                results = self._results(quiet, names)
                callers = [result for result in results if result is not None]
                if not callers:
                    break
                quiet = [file for file, result in zip(quiet, results, strict=True) if result is None]
                found = [*found, *callers]
        return found

    def _results(self, files: Sequence[Candidate], callees: frozenset[Callee]) -> list[FileFindings | None]:
        """Return what is found in each of `files`; with `callees`, only in those that may call one of them."""
        found = self._known(files, callees) if self.cache is not None else {}
        new = [file for file in files if file.path not in found]
        kept: dict[bytes, bytes] = {}
        look = functools.partial(_look, settings=self.settings, callees=callees, kept=self.cache is not None)
        for file, seen in zip(new, self._spread(look, new), strict=True):
            found[file.path] = seen.findings
            if self.cache is not None and seen.certain:
                kept[self._key(file, seen.digest, callees)] = reuse.dumped(seen)
            if not callees:  # What is read again for others' sake is counted already.
                self.progress(len(found), len(files))
        if self.cache is not None and kept:
            self.cache.put(kept, self.used)
        return [found[file.path] for file in files]

    def _spread(self, work: Callable[[Candidate], _T], files: Sequence[Candidate]) -> Iterator[_T]:
        if isinstance(self.executor, Workers):
            yield from self.executor.map(work, files)
            return
        for done in self.executor.map(functools.partial(all_of, work), chunks(files)):
            yield from done

    def _known(self, files: Sequence[Candidate], callees: frozenset[Callee]) -> dict[str, FileFindings | None]:
        """Return what an earlier run found in those files whose result still holds."""
        assert self.cache is not None
        keys = {self._key(file, digest, callees): file for file in files if (digest := _digest(file)) is not None}
        known: dict[str, FileFindings | None] = {}
        used = []
        for key, value in self.cache.get(keys).items():
            seen = reuse.loaded(value, _Seen)
            if seen is not None and (seen.findings is None or self.recheck.holds(seen.findings.answers)):
                known[keys[key].path] = seen.findings
                used.append(key)
        self.used = used
        return known

    def _key(self, file: Candidate, digest: bytes, callees: frozenset[Callee]) -> bytes:
        return self.keys.of_file(file.path, digest, named=file.named, callees=callees)


def _look(file: Candidate, settings: Settings, callees: frozenset[Callee], *, kept: bool) -> _Seen:
    """Look at a file; on what its result rests is told only if it is to be kept, for there are many files."""
    data, findings = look_at(file, settings, callees)
    if not kept:
        return _Seen(b"", findings and replace(findings, answers=NOTHING))
    return _Seen(digest_of(data) if data is not None else b"", findings)


def _digest(file: Candidate) -> bytes | None:
    try:
        with open(file.path, "rb") as stream:
            return digest_of(stream.read())
    except (OSError, ValueError):
        return None


def _absolute(stamps: Iterable[tuple[str, Stamp]]) -> list[tuple[str, Stamp]]:
    return list({os.path.abspath(path): stamp for path, stamp in stamps}.items())
