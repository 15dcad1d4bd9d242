"""Which files to read: the arguments as given, and below folders what .gitignore and `exclude` leave of the Python
files and notebooks, and of what `extend-include` names.

Must not open a file other than .gitignore.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import TYPE_CHECKING

from gradlint.config import Settings, upward
from gradlint.data import NamedTuple, dataclass
from gradlint.static.sources.sights import Stamp, stamp_of

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_SUFFIXES = (".py", ".pyw", ".ipynb")
_VIRTUAL_ENVIRONMENT = "pyvenv.cfg"


class Candidate(NamedTuple):
    """A file to read; `named` if it was an argument itself and not found below one."""

    path: str
    named: bool = False


@dataclass(slots=True)
class Trail:
    """What a search went by: folders and .gitignore files with their stamps, and what was there or not."""

    stamps: list[tuple[str, Stamp]] = field(default_factory=list)
    asked: list[tuple[str, str, bool]] = field(default_factory=list)

    def pass_by(self, path: str) -> None:
        """Remember the present state of a file or folder."""
        self.stamps.append((path, stamp_of(path)))


class Patterns(NamedTuple):
    """Patterns of .gitignore and the folder that they are relative to."""

    folder: str
    spec: GitIgnoreSpec

    def verdict(self, path: str) -> bool | None:
        """Tell whether the absolute `path` (a folder ends with a slash) is excluded; None: no pattern says."""
        inside = path.startswith(self.folder + os.sep) or self.folder == os.sep
        if not inside:
            return None
        return self.spec.check_file(path[len(self.folder) :].lstrip(os.sep)).include


def discover(
    paths: Iterable[str], settings: Settings, *, force_exclude: bool = False, trail: Trail | None = None
) -> Iterator[Candidate]:
    """Yield each file once, in the order of the arguments and by name below each.

    An argument is always taken, excluded or not, unless `force_exclude` is set; one that does not exist is yielded too,
    for the reader to report. A `trail` is told what the search goes by.
    """
    trail = trail or Trail()
    excludes = (*settings.exclude, *settings.extend_exclude)
    seen = set()
    for path in paths:
        if force_exclude and matches(excludes, settings.root, path):
            continue
        trail.asked.append(("folder", os.path.abspath(path), os.path.isdir(path)))
        below = _walk(path, settings, trail) if os.path.isdir(path) else iter([Candidate(path, named=True)])
        for candidate in below:
            identity = os.path.abspath(candidate.path)
            if identity not in seen:
                seen.add(identity)
                yield candidate


def matches(patterns: Iterable[str], root: str, path: str) -> bool:
    """Tell whether `path` matches one of `patterns`, which are relative to `root`."""
    return bool(_patterns(patterns, root).verdict(os.path.abspath(path)))


def _walk(top: str, settings: Settings, trail: Trail) -> Iterator[Candidate]:
    absolute = os.path.abspath(top)
    excludes = (*settings.exclude, *settings.extend_exclude)
    above = [_patterns(excludes, settings.root), _patterns(excludes, absolute), *_gitignores_above(absolute, trail)]
    # What excludes the argument itself would exclude all below it, and the user asked for that.
    rules = [patterns for patterns in above if not patterns.verdict(absolute + os.sep)]
    wanted = _patterns(settings.extend_include, settings.root)
    for path in _below(absolute, rules, wanted, trail):
        yield Candidate(os.path.normpath(os.path.join(top, os.path.relpath(path, absolute))))


def _below(folder: str, rules: list[Patterns], wanted: Patterns, trail: Trail) -> Iterator[str]:
    trail.pass_by(folder)
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    rules = [*rules, *_gitignore(folder, trail)]
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if not _excluded(entry.path + os.sep, rules) and not _is_environment(entry.path, trail):
                yield from _below(entry.path, rules, wanted, trail)
        elif _is_wanted(entry, wanted) and entry.is_file() and not _excluded(entry.path, rules):
            yield entry.path


def _is_wanted(entry: os.DirEntry[str], wanted: Patterns) -> bool:
    return entry.name.endswith(_SUFFIXES) or bool(wanted.verdict(entry.path))


def _excluded(path: str, rules: list[Patterns]) -> bool:
    """Let the nearest file that says anything decide, as git does."""
    return next((verdict for rule in reversed(rules) if (verdict := rule.verdict(path)) is not None), False)


def _is_environment(folder: str, trail: Trail) -> bool:
    mark = os.path.join(folder, _VIRTUAL_ENVIRONMENT)
    found = os.path.exists(mark)
    if found:
        trail.asked.append(("there", mark, True))
    return found


def _patterns(patterns: Iterable[str], root: str) -> Patterns:
    return Patterns(os.path.abspath(root), _spec(patterns))


def _spec(lines: Iterable[str]) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec  # Who names files needs none.

    return GitIgnoreSpec.from_lines(lines)


def _gitignore(folder: str, trail: Trail) -> list[Patterns]:
    file = os.path.join(folder, ".gitignore")
    trail.pass_by(file)
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            return [Patterns(folder, _spec(stream.read().splitlines()))]
    except (OSError, ValueError):
        return []


def _gitignores_above(folder: str, trail: Trail) -> list[Patterns]:
    """Return those of the git work tree that `folder` lies in, outermost first; none outside of one."""
    found: list[Patterns] = []
    for outer in upward(folder):
        if outer != folder:
            found = [*_gitignore(outer, trail), *found]
        mark = os.path.join(outer, ".git")
        ends = os.path.exists(mark)
        trail.asked.append(("there", mark, ends))
        if ends:
            return found
    return []
