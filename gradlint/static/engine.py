"""The static side's way through a file: read, parse, analyze, suppress, select.

It knows files and settings; it must not know rules or protocols. Nothing that one file does stops the others: what cannot
be checked is a GL000 diagnostic.
"""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace

from gradlint.config import Settings
from gradlint.diagnostics import Diagnostic
from gradlint.documents import Document, is_document
from gradlint.garbage import collector_paused
from gradlint.models import models_with
from gradlint.rulebook import rule
from gradlint.static.findings import FileFindings, selected
from gradlint.static.report import Report
from gradlint.static.sources import reading, signs
from gradlint.static.sources.callers import may_call
from gradlint.static.sources.contents import tree_kept
from gradlint.static.sources.discovery import Candidate
from gradlint.static.sources.reading import UNREADABLE, Unreadable
from gradlint.static.syntax.marimo import SIGN, as_script
from gradlint.static.understanding import Callee, Finding, Understanding, analyze
from gradlint.suppression import apply, suppressions

_DEFAULTS = Settings()


def check_source(
    source: str, filename: str = "<stdin>", settings: Settings = _DEFAULTS, *, pieces: tuple[int, ...] = ()
) -> list[Diagnostic]:
    """Return the findings in `source`, in order of place.

    The files that it imports from are read where `filename` says that it lies. `pieces` are the rows at which the
    cells begin in the text of a document.
    """
    return _ended(_checked(source, filename, settings, pieces), settings)


def check_bytes(data: bytes, filename: str, settings: Settings, *, whole: bool = True) -> list[Diagnostic]:
    """Return the findings in an undecoded source, unless it is to be read as a `whole` by words only where nothing acts."""
    return _ended(_checked_bytes(data, filename, settings, whole=whole), settings)


def report(found: Sequence[Diagnostic], files: int) -> Report:
    """Return the report on `files` files with the findings `found`."""
    failed = {item.location.filename for item in found if item.code == UNREADABLE}
    return Report(tuple(sorted(found, key=lambda item: item.order)), files, len(failed))


def look_at(
    file: Candidate, settings: Settings, callees: frozenset[Callee] = frozenset()
) -> tuple[bytes | None, FileFindings | None]:
    """Return the content of a file and what is found in it; neither where there is none.

    Most files are not worth an analysis: no rule can find anything there. With `callees`, it is worth one if it may call one
    of these functions; the empty name stands for any.
    """
    try:
        data = reading.read(file.path)
    except Unreadable as error:
        return None, None if callees else FileFindings(file.path, (Finding(error.diagnostic),))
    packages, whole = models_with(settings.models).packages, True
    if callees:
        worth = may_call(data, callees)
    else:
        trains = reading.mentions_training(data, packages)
        whole = file.named or (trains and not signs.is_plain(data, packages))
        worth = whole or (trains and _has_signs(data, file.path))
    found = _checked_bytes(data, file.path, settings, whole=whole) if worth else None
    return data, _as_caller(found) if callees and found is not None else found


def _as_caller(found: FileFindings) -> FileFindings:
    """Return what is found in a file that is read for others' sake only: that it cannot be read is no defect of theirs."""
    readable = tuple(each for each in found.found if each.diagnostic.code != UNREADABLE)
    return replace(found, found=readable, broken=())


def _has_signs(data: bytes, filename: str) -> bool:
    # In a notebook, lines are strings of JSON.
    return is_document(filename) or signs.may_find(data)


def _checked_bytes(data: bytes, filename: str, settings: Settings, *, whole: bool = True) -> FileFindings:
    try:
        text = reading.decode(data, filename)
        if is_document(filename):
            return _checked_document(reading.document(text, filename), filename, settings)
        return _checked(text, filename, settings, whole=whole)
    except Unreadable as error:
        return FileFindings(filename, (Finding(error.diagnostic),))


def _checked_document(document: Document, filename: str, settings: Settings) -> FileFindings:
    """Check a document as one module; a piece that cannot be parsed is left out of it, and reported."""
    broken = (Finding(reading.no_cells(document.broken).diagnostic),) if document.broken else ()
    with collector_paused():
        known = _analyze(parse(document.text, filename), document.text, filename, settings, document.starts)
    comments = suppressions(document.text, filename)
    return FileFindings(
        filename,
        known.found,
        known.followed,
        comments,
        document,
        broken,
        known.answers,
        known.waiting,
        asked=known.asked,
    )


def _checked(
    source: str, filename: str, settings: Settings, pieces: tuple[int, ...] = (), *, whole: bool = True
) -> FileFindings:
    """Check a source; unless it is to be read as a `whole`, only by words where nothing of training happens."""
    try:
        with collector_paused():
            known = _analyze(parse(source, filename), source, filename, settings, pieces, whole=whole)
    except Unreadable as error:
        return FileFindings(filename, (Finding(error.diagnostic),))
    found = _with_fixes(known.found, source, filename, settings)
    comments = suppressions(source, filename)
    return FileFindings(
        filename,
        found,
        known.followed,
        comments,
        answers=known.answers,
        waiting=known.waiting,
        whole=known.whole,
        asked=known.asked,
    )


def _ended(checked: FileFindings, settings: Settings) -> list[Diagnostic]:
    """Return the findings of one file in itself."""
    own = [each.diagnostic for each in checked.found if each.diagnostic.location.filename == checked.filename]
    return selected(checked.placed(apply(own, checked.comments)), checked.filename, settings)


def parse(source: str, filename: str) -> ast.Module:
    """Return the syntax tree of a source, of a marimo notebook that of what it runs; raises Unreadable."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = tree_kept(filename, source) or ast.parse(source, filename)
            return as_script(tree) if SIGN in source else tree
    except SyntaxError as error:
        raise reading.no_python(error, source, filename) from error
    except (RecursionError, MemoryError) as error:
        raise Unreadable(
            filename, "the code is nested too deeply to be read", "leave the file out with `exclude`"
        ) from error
    except ValueError as error:
        raise Unreadable(filename, f"this is no Python source: {error}", "leave the file out with `exclude`") from error


def _analyze(
    tree: ast.Module,
    source: str,
    filename: str,
    settings: Settings,
    pieces: tuple[int, ...] = (),
    *,
    whole: bool = True,
) -> Understanding:
    models, steps = models_with(settings.models), settings.accumulation_steps
    try:
        return analyze(tree, source, filename, models, pieces, steps, whole)
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
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else "place unknown"


def _with_fixes(found: tuple[Finding, ...], source: str, filename: str, settings: Settings) -> tuple[Finding, ...]:
    """Return the findings with fixes for those in the file itself that are reported."""
    wanted = [each.diagnostic for each in found if each.diagnostic.location.filename == filename]
    wanted = [each for each in wanted if not each.fix and rule(each.code).fix != "none"]
    if not settings.fixes or not selected(wanted, filename, settings):
        return found
    from gradlint.static.fixes import with_fixes  # Most runs find nothing to fix.

    try:
        fixed = dict(zip(wanted, with_fixes(wanted, source), strict=True))
    except RecursionError:
        return found
    return tuple(replace(each, diagnostic=fixed.get(each.diagnostic, each.diagnostic)) for each in found)
