"""The static side's way through a file: read, parse, analyze, suppress, select.

It knows files and settings; it must not know rules or protocols. Nothing that one file does stops the others: what cannot
be checked is a GL000 diagnostic.
"""

from __future__ import annotations

import ast
import functools
import gc
import itertools
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from gradlint.config import Settings, find_settings
from gradlint.diagnostics import Diagnostic
from gradlint.documents import Document, is_document
from gradlint.models import models_with
from gradlint.rulebook import rule
from gradlint.static import discovery, reading, signs
from gradlint.static.analysis import Finding, Understanding, analyze
from gradlint.static.findings import FileFindings, excusable, project_findings, selected
from gradlint.static.reading import UNREADABLE, Unreadable
from gradlint.suppression import apply, suppressions

_DEFAULTS = Settings()
_CHUNK = 16
"""So many files go to a worker at once."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, in order of place; `files` were looked at, `failed` of them could not be checked."""

    diagnostics: tuple[Diagnostic, ...]
    files: int
    failed: int


def check_source(
    source: str, filename: str = "<stdin>", settings: Settings = _DEFAULTS, *, pieces: tuple[int, ...] = ()
) -> list[Diagnostic]:
    """Return the findings in `source`, in order of place.

    The files that it imports from are read where `filename` says that it lies. `pieces` are the rows at which the
    cells begin in the text of a document.
    """
    return _ended(_checked(source, filename, settings, pieces), settings)


def check_bytes(data: bytes, filename: str, settings: Settings) -> list[Diagnostic]:
    """Return the findings in an undecoded source."""
    return _ended(_checked_bytes(data, filename, settings), settings)


def check_paths(
    paths: Iterable[str | os.PathLike[str]],
    settings: Settings | None = None,
    *,
    executor: Executor | None = None,
    force_exclude: bool = False,
) -> Report:
    """Check files and the Python files below folders.

    Without `settings`, those of the pyproject.toml nearest to the first path apply. With an `executor` the files are
    spread over it; it may be that of a cluster. `force_exclude` lets `exclude` apply to `paths` themselves too. Raises
    SettingsError if the pyproject.toml cannot be followed.
    """
    named = [os.fspath(path) for path in paths]
    if settings is None:
        settings = find_settings(Path(named[0] if named else "."))
    with _collector_paused():
        return _report_on(list(discovery.discover(named, settings, force_exclude=force_exclude)), settings, executor)


def _report_on(files: Sequence[discovery.Candidate], settings: Settings, executor: Executor | None) -> Report:
    results = list(_spread(functools.partial(_check_file, settings=settings), files, executor))
    quiet = [file for file, result in zip(files, results, strict=True) if result is None]
    found = [result for result in results if result is not None]
    return report(project_findings(_with_callers(found, quiet, settings, executor), settings), len(files))


def _spread(check: Callable[[_Item], _Result], items: Sequence[_Item], executor: Executor | None) -> Iterator[_Result]:
    if executor is None:
        return map(check, items)
    chunks = [items[begin : begin + _CHUNK] for begin in range(0, len(items), _CHUNK)]
    return itertools.chain.from_iterable(executor.map(functools.partial(_all_of, check), chunks))


def _all_of(check: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    with _collector_paused():
        return [check(item) for item in items]


def _with_callers(
    found: list[FileFindings],
    quiet: Sequence[discovery.Candidate],
    settings: Settings,
    executor: Executor | None,
) -> list[FileFindings]:
    """Return what was found with what is to be said of `quiet` files, in which no rule finds anything, but which may call.

    They are read only as far as somebody asks: where a finding stands only as long as no caller is in sight.
    """
    while quiet and (names := excusable(found)):
        check = functools.partial(_check_caller, settings=settings, names=names)
        results = list(_spread(check, quiet, executor))
        callers = [result for result in results if result is not None]
        if not callers:
            break
        quiet = [file for file, result in zip(quiet, results, strict=True) if result is None]
        found = [*found, *callers]
    return found


def report(found: Sequence[Diagnostic], files: int) -> Report:
    """Return the report on `files` files with the findings `found`."""
    failed = {item.location.filename for item in found if item.code == UNREADABLE}
    return Report(tuple(sorted(found, key=lambda item: item.order)), files, len(failed))


def _check_file(file: discovery.Candidate, settings: Settings) -> FileFindings | None:
    try:
        data = reading.read(file.path)
    except Unreadable as error:
        return FileFindings(file.path, (Finding(error.diagnostic),))
    packages = models_with(settings.models).packages
    if file.named or (reading.mentions_training(data, packages) and _has_signs(data, file.path, packages)):
        return _checked_bytes(data, file.path, settings)
    return None


def _has_signs(data: bytes, filename: str, packages: frozenset[str]) -> bool:
    # In a notebook, lines are strings of JSON.
    return is_document(filename) or signs.may_find(data, packages)


def _check_caller(file: discovery.Candidate, settings: Settings, names: frozenset[str]) -> FileFindings | None:
    """Check a file without signs if it may call one of the functions `names`."""
    try:
        data = reading.read(file.path)
    except Unreadable:
        return None
    may_call = reading.mentions_training(data) and any(name.encode() in data for name in names)
    return _checked_bytes(data, file.path, settings) if may_call else None


def _checked_bytes(data: bytes, filename: str, settings: Settings) -> FileFindings:
    try:
        text = reading.decode(data, filename)
        if is_document(filename):
            return _checked_document(reading.document(text, filename), filename, settings)
        return _checked(text, filename, settings)
    except Unreadable as error:
        return FileFindings(filename, (Finding(error.diagnostic),))


def _checked_document(document: Document, filename: str, settings: Settings) -> FileFindings:
    """Check a document as one module; a piece that cannot be parsed is left out of it, and reported."""
    broken = tuple(Finding(reading.no_cell(piece).diagnostic) for piece in document.broken)
    with _collector_paused():
        known = _analyze(parse(document.text, filename), document.text, filename, settings, document.starts)
    comments = suppressions(document.text, filename)
    return FileFindings(filename, known.found, known.followed, comments, document, broken)


def _checked(source: str, filename: str, settings: Settings, pieces: tuple[int, ...] = ()) -> FileFindings:
    try:
        with _collector_paused():
            known = _analyze(parse(source, filename), source, filename, settings, pieces)
    except Unreadable as error:
        return FileFindings(filename, (Finding(error.diagnostic),))
    found = _with_fixes(known.found, source, filename, settings)
    return FileFindings(filename, found, known.followed, suppressions(source, filename))


def _ended(checked: FileFindings, settings: Settings) -> list[Diagnostic]:
    """Return the findings of one file in itself."""
    own = [each.diagnostic for each in checked.found if each.diagnostic.location.filename == checked.filename]
    return selected(checked.placed(apply(own, checked.comments)), checked.filename, settings)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the search for cyclic garbage: a tree has none, and to look for it takes longer than parsing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def parse(source: str, filename: str) -> ast.Module:
    """Return the syntax tree of a source; raises Unreadable."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source, filename)
    except SyntaxError as error:
        raise reading.no_python(error, source, filename) from error
    except (RecursionError, MemoryError) as error:
        raise Unreadable(
            filename, "the code is nested too deeply to be read", "leave the file out with `exclude`"
        ) from error
    except ValueError as error:
        raise Unreadable(filename, f"this is no Python source: {error}", "leave the file out with `exclude`") from error


def _analyze(
    tree: ast.Module, source: str, filename: str, settings: Settings, pieces: tuple[int, ...] = ()
) -> Understanding:
    try:
        return analyze(tree, source, filename, models_with(settings.models), pieces, settings.accumulation_steps)
    except RecursionError as error:
        raise Unreadable(
            filename, "the code is nested too deeply to be checked", "leave the file out with `exclude`"
        ) from error
    except Exception as error:  # A defect in one rule must not keep the other files from being checked.
        what = f"gradlint failed on this file: {type(error).__name__}: {error} ({_origin(error)})"
        raise Unreadable(filename, what, "this is a defect of gradlint: please report it with the file") from error


def _origin(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "place unknown"


def _with_fixes(found: tuple[Finding, ...], source: str, filename: str, settings: Settings) -> tuple[Finding, ...]:
    """Return the findings with fixes for those in the file itself that are reported."""
    wanted = [each.diagnostic for each in found if each.diagnostic.location.filename == filename]
    wanted = [each for each in wanted if not each.fix and rule(each.code).fix != "none"]
    if not selected(wanted, filename, settings):
        return found
    from gradlint.static.fixes import with_fixes  # It loads libcst, which takes longer than checking a file.

    try:
        fixed = dict(zip(wanted, with_fixes(wanted, source), strict=True))
    except RecursionError:
        return found
    return tuple(replace(each, diagnostic=fixed.get(each.diagnostic, each.diagnostic)) for each in found)
