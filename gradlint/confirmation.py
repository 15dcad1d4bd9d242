"""What a run says of the findings of the static side: confirmed, not confirmed, or not reached.

It composes both sides, and neither knows of it: the run is over, and its files are read only now. Must not know how
either side finds anything.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import os
import sys
from collections.abc import Sequence

from gradlint.config import SettingsError, find_settings
from gradlint.diagnostics import Diagnostic, Side
from gradlint.models import models_with
from gradlint.records import Reached, Record
from gradlint.reporters.summary import plural
from gradlint.rulebook import rule
from gradlint.static.runs import check_paths
from gradlint.static.sources import reading

CONFIRMED = "confirmed at run time"
_ALSO = {"GL102": "GL101", "GL107": "GL101", "GL108": "GL101"}
"""What a run, which shows neither loops nor conditions, calls a finding of the static side."""


def confirm(known: Record) -> list[Diagnostic]:
    """Return the findings of a run and those in the source that ran, one for both where they are the same.

    What only the source shows bears a verdict of the run.
    """
    if not known.reached.files:
        return list(known.found)
    try:
        read = _read(known.reached.files)
    except SettingsError as error:
        print(f"gradlint: the source that ran is not read: {error}", file=sys.stderr)
        return list(known.found)
    pairs = _pairs(read, known.found)
    seen = {id(found) for _, found in pairs}
    merged = [_confirmed(item, found) for item, found in pairs]
    left = [found for found in known.found if id(found) not in seen]
    matched = {id(item) for item, _ in pairs}
    open_ones = [_judged(item, known) for item in read if id(item) not in matched]
    return sorted((*merged, *left, *open_ones), key=lambda found: (found.side is Side.STATIC, found.order))


def _read(files: Sequence[str]) -> list[Diagnostic]:
    """Return what is found in those files that have to do with training; raises SettingsError."""
    settings = find_settings(files[0])
    packages = models_with(settings.models).packages
    training = [file for file in files if _mentions_training(file, packages)]
    found = check_paths(training, settings, force_exclude=True).diagnostics
    return [item for item in found if not item.code.startswith("GL0")]


def _mentions_training(file: str, packages: frozenset[str]) -> bool:
    try:
        return reading.mentions_training(reading.read(file), packages)
    except reading.Unreadable:
        return False


def _pairs(read: Sequence[Diagnostic], found: Sequence[Diagnostic]) -> list[tuple[Diagnostic, Diagnostic]]:
    """Return who says the same: in the same line, else in one that the other tells of, else in the same function."""
    pairs: list[tuple[Diagnostic, Diagnostic]] = []
    for near in (_same_line, _told_line, _same_function):
        for item in read:
            open_ones = (each for each in found if not any(each is one for _, one in pairs))
            if any(item is one for one, _ in pairs):
                continue
            twin = next((each for each in open_ones if _same_rule(item, each) and near(item, each)), None)
            if twin is not None:
                pairs.append((item, twin))
    return pairs


def _same_rule(item: Diagnostic, found: Diagnostic) -> bool:
    return found.code in (item.code, _ALSO.get(item.code))


def _same_line(item: Diagnostic, found: Diagnostic) -> bool:
    one, other = item.location, found.location
    return _same_file(item, found) and one.row <= other.row <= max(one.end_row, one.row)


def _told_line(item: Diagnostic, found: Diagnostic) -> bool:
    told = (dataclasses.replace(item, location=each.location) for each in item.related)
    return any(_same_line(each, found) for each in told)


def _same_function(item: Diagnostic, found: Diagnostic) -> bool:
    if not _same_file(item, found):
        return False
    return _function(item.location.filename, item.location.row) == _function(item.location.filename, found.location.row)


def _same_file(item: Diagnostic, found: Diagnostic) -> bool:
    return os.path.abspath(item.location.filename) == os.path.abspath(found.location.filename)


def _confirmed(item: Diagnostic, found: Diagnostic) -> Diagnostic:
    return dataclasses.replace(
        item, side=Side.RUNTIME, count=found.count, iteration=found.iteration, ranks=found.ranks, verdict=CONFIRMED
    )


def _judged(item: Diagnostic, known: Record) -> Diagnostic:
    return dataclasses.replace(item, verdict=_verdict(item, known))


def _verdict(item: Diagnostic, known: Record) -> str:
    if not _is_reached(item, known.reached):
        return "not reached by this run"
    if Side.RUNTIME in rule(item.code).sides or item.code in _ALSO:
        if not known.steps:
            return "not confirmed: no optimizer has stepped"
        return f"not confirmed in {plural(known.steps, 'iteration')}"
    return "judged by the source alone: no run shows it"


def _is_reached(item: Diagnostic, reached: Reached) -> bool:
    """Tell whether an event was seen in the line or its function; what no function holds ran with its file."""
    place = item.location
    rows = reached.rows.get(place.filename, ())
    if any(place.row <= row <= max(place.end_row, place.row) for row in rows):
        return True
    function = _function(place.filename, place.row)
    return function is None or function in reached.functions.get(place.filename, ())


def _function(filename: str, row: int) -> int | None:
    """Return the first row of the innermost function around a row, None if there is none."""
    around = [first for first, last in _functions(filename) if first <= row <= last]
    return max(around, default=None)


@functools.cache
def _functions(filename: str) -> tuple[tuple[int, int], ...]:
    """Return the first and the last row of each function in a file."""
    try:
        with open(filename, "rb") as file:
            tree = ast.parse(file.read(), filename)
    except (OSError, SyntaxError, ValueError):
        return ()
    functions = (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return tuple((_first_row(node), node.end_lineno or node.lineno) for node in functions)


def _first_row(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
