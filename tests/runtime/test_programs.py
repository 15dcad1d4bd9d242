"""Every program of `programs.py` under watch: silent where it is right, found on the very line where it is wrong."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable

import programs
import pytest

import gradlint

PROGRAMS = [
    function
    for name, function in inspect.getmembers(programs, inspect.isfunction)
    if function.__module__ == programs.__name__
    and not name.startswith("_")
    and not inspect.signature(function).parameters
]


def expected(program: Callable[[], None]) -> set[tuple[int, str]]:
    lines, first = inspect.getsourcelines(program)
    codes = ((row, re.search(r"# (GL\d{3})$", line.rstrip())) for row, line in enumerate(lines, first))
    return {(row, code[1]) for row, code in codes if code}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_program(program: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError), gradlint.watch(output=None) as report:
        program()
    assert report.failure is None
    assert {(found.location.row, found.code) for found in report.diagnostics} == expected(program)
