"""Which files to read: the arguments as given, and below folders what .gitignore and `exclude` leave of the Python
files and notebooks, and of what `extend-include` names.

Must not open a file other than .gitignore.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from gradlint.config import Settings

_SUFFIXES = (".py", ".pyw", ".ipynb")
_VIRTUAL_ENVIRONMENT = "pyvenv.cfg"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file to read; `named` if it was an argument itself and not found below one."""

    path: str
    named: bool = False


@dataclass(frozen=True, slots=True)
class Patterns:
    """Patterns of .gitignore and the folder that they are relative to."""

    folder: str
    spec: GitIgnoreSpec

    def verdict(self, path: str) -> bool | None:
        """Tell whether the absolute `path` (a folder ends with a slash) is excluded; None: no pattern says."""
        inside = path.startswith(self.folder + os.sep) or self.folder == os.sep
        if not inside:
            return None
        return self.spec.check_file(path[len(self.folder) :].lstrip(os.sep)).include


def discover(paths: Iterable[str], settings: Settings, *, force_exclude: bool = False) -> Iterator[Candidate]:
    """Yield each file once, in the order of the arguments and by name below each.

    An argument is always taken, excluded or not, unless `force_exclude` is set; one that does not exist is yielded too,
    for the reader to report.
    """
    excludes = (*settings.exclude, *settings.extend_exclude)
    seen = set()
    for path in paths:
        if force_exclude and matches(excludes, settings.root, path):
            continue
        below = _walk(path, settings) if os.path.isdir(path) else iter([Candidate(path, named=True)])
        for candidate in below:
            identity = os.path.abspath(candidate.path)
            if identity not in seen:
                seen.add(identity)
                yield candidate


def matches(patterns: Iterable[str], root: str, path: str) -> bool:
    """Tell whether `path` matches one of `patterns`, which are relative to `root`."""
    return bool(_patterns(patterns, root).verdict(os.path.abspath(path)))


def _walk(top: str, settings: Settings) -> Iterator[Candidate]:
    absolute = os.path.abspath(top)
    excludes = (*settings.exclude, *settings.extend_exclude)
    above = [_patterns(excludes, settings.root), _patterns(excludes, absolute), *_gitignores_above(absolute)]
    # What excludes the argument itself would exclude all below it, and the user asked for that.
    rules = [patterns for patterns in above if not patterns.verdict(absolute + os.sep)]
    wanted = _patterns(settings.extend_include, settings.root)
    for path in _below(absolute, rules, wanted):
        yield Candidate(os.path.normpath(os.path.join(top, os.path.relpath(path, absolute))))


def _below(folder: str, rules: list[Patterns], wanted: Patterns) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    rules = [*rules, *_gitignore(folder)]
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if not _excluded(entry.path + os.sep, rules) and not _is_environment(entry.path):
                yield from _below(entry.path, rules, wanted)
        elif _is_wanted(entry, wanted) and entry.is_file() and not _excluded(entry.path, rules):
            yield entry.path


def _is_wanted(entry: os.DirEntry[str], wanted: Patterns) -> bool:
    return entry.name.endswith(_SUFFIXES) or bool(wanted.verdict(entry.path))


def _excluded(path: str, rules: list[Patterns]) -> bool:
    """Let the nearest file that says anything decide, as git does."""
    return next((verdict for rule in reversed(rules) if (verdict := rule.verdict(path)) is not None), False)


def _is_environment(folder: str) -> bool:
    return os.path.exists(os.path.join(folder, _VIRTUAL_ENVIRONMENT))


def _patterns(patterns: Iterable[str], root: str) -> Patterns:
    return Patterns(os.path.abspath(root), GitIgnoreSpec.from_lines(patterns))


def _gitignore(folder: str) -> list[Patterns]:
    try:
        lines = Path(folder, ".gitignore").read_text(encoding="utf-8", errors="replace").splitlines()
        return [Patterns(folder, GitIgnoreSpec.from_lines(lines))]
    except (OSError, ValueError):
        return []


def _gitignores_above(folder: str) -> list[Patterns]:
    """Return those of the git work tree that `folder` lies in, outermost first; none outside of one."""
    found: list[Patterns] = []
    inner = Path(folder)
    while not (inner / ".git").exists():
        if inner == inner.parent:
            return []
        inner = inner.parent
        found = [*_gitignore(str(inner)), *found]
    return found
