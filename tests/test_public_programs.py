"""The lists of public programs that `benchmarks/programs.py` runs: each is complete, and changes what it says."""

from __future__ import annotations

import re

import pytest
from public.reading import HERE, Change, Program, read_programs

from gradlint.rulebook import rules

PROGRAMS = read_programs()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_program_is_complete(program: Program) -> None:
    assert re.fullmatch(r"[0-9a-f]{40}", program.commit)
    assert program.mistakes
    assert all((HERE / "stubs" / name).is_dir() for name in program.stubs)
    assert not program.data or f"\ndef {program.data}(" in (HERE / "data.py").read_text("utf-8")
    assert {find.partition(":")[0] for mistake in program.mistakes for find in mistake.finds} <= set(rules())


def test_programs_have_names_of_their_own() -> None:
    assert len({program.name for program in PROGRAMS}) == len(PROGRAMS) >= 30


def test_change_keeps_the_indentation() -> None:
    change = Change("train.py", {2: "pass"})
    assert change.apply("for x in y:\n    step()\n    log()\n") == "for x in y:\n    pass\n    log()\n"
