"""Every loop of `unusual.py` and `rare.py` under watch: silent and the same to the last bit where it is right, found on the very line where it is wrong."""

from __future__ import annotations

import contextlib
import inspect
import re

import pytest
import rare
import torch
import unusual

import gradlint

PROGRAMS = [
    function
    for module in (unusual, rare)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__ and list(inspect.signature(function).parameters) == ["wrong"]
]


def expected(program: unusual.Program) -> list[tuple[int, str]]:
    lines, first = inspect.getsourcelines(program)
    codes = ((row, re.search(r"# (GL\d{3})$", line.rstrip())) for row, line in enumerate(lines, first))
    return [(row, code[1]) for row, code in codes if code]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_right_one_is_left_alone(program: unusual.Program) -> None:
    bare = program(False)
    state = torch.get_rng_state()
    with gradlint.watch(output=None) as report:
        seen = program(False)
    assert (report.diagnostics, report.failure) == ([], None)
    assert all(torch.equal(one, other) for one, other in zip(bare, seen, strict=True))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_mistake_is_found_on_its_line(program: unusual.Program) -> None:
    with contextlib.suppress(RuntimeError), gradlint.watch(output=None) as report:
        program(True)
    assert report.failure is None
    assert [(found.location.row, found.code) for found in report.diagnostics] == expected(program)
