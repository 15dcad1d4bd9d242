"""Records of processes: as files, and merged into one report."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from click.testing import CliRunner

from gradlint import records
from gradlint.cli import main
from gradlint.diagnostics import Diagnostic, Edit, Fix, Location, Side
from gradlint.merging import combined, merge
from gradlint.messages import compose
from gradlint.records import Reached, Record, Replica, Sums
from gradlint.reporters.summary import named
from gradlint.wordings.updates import ALL_STEPS

STEP = Location("train.py", 9, 5, 9, 21)
MISSING = dataclasses.replace(
    compose("GL101", Side.RUNTIME, STEP, (("dirty", Location("train.py", 8)),), subject="optimizer", steps=ALL_STEPS),
    count=3,
    iteration=2,
    fix=Fix("insert it", (Edit(STEP, "x"),)),
)


def replica(rank: int, *values: float, steps: int = 0, joined: bool = False) -> Replica:
    """Return what a rank knows of a model of one parameter, which has these values after the steps 1, 2, 4, ..."""
    sums = tuple(Sums(2**number, STEP, ((value, 10.0),)) for number, value in enumerate(values))
    return Replica("model", rank, (0, 1), 0, ("weight",), steps or 2 ** len(values), STEP, False, joined, sums)


def record(rank: int, *found: Diagnostic, replicas: tuple[Replica, ...] = (), ended: bool = True) -> Record:
    return Record(rank, ended, 8, found, replicas, Reached(("train.py",), {"train.py": (rank + 1,)}, {}))


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = record(1, MISSING, replicas=(replica(1, 0.1, float("inf")),), ended=False)
    records.make(tmp_path / "new" / "er")
    records.write(written, tmp_path / "new" / "er", "rank-1")
    [file] = records.files(tmp_path / "new" / "er")
    assert records.read(file) == written
    assert [path.name for path in file.parent.iterdir()] == ["rank-1.json"]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"rank": 0}', '"x"'])
def test_what_is_no_record_is_one_line_and_exit_code_2(tmp_path: Path, text: str) -> None:
    (tmp_path / "rank-0.json").write_text(text, encoding="utf-8")
    ended = CliRunner().invoke(main, ["report", str(tmp_path)])
    assert (ended.exit_code, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)


def test_a_folder_without_records_is_exit_code_2(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["report", str(tmp_path)]).exit_code == 2


def test_folders_of_several_nodes_are_merged(tmp_path: Path) -> None:
    for rank in range(4):
        records.make(tmp_path / f"node{rank // 2}")
        records.write(record(rank, MISSING), tmp_path / f"node{rank // 2}", f"rank-{rank}")
    ended = CliRunner().invoke(main, ["report", str(tmp_path / "node0"), str(tmp_path / "node1")])
    assert ended.exit_code == 1
    assert "seen 3 times on ranks [0-3], first in iteration 2" in ended.stdout
    assert ended.stdout.count("[GL101]") == 1


def test_one_finding_of_several_ranks_is_one() -> None:
    often = dataclasses.replace(MISSING, count=7, iteration=1)
    [found] = merge([record(0, MISSING), record(1, often), record(2)])
    assert (found.count, found.iteration, found.ranks) == (7, 1, (0, 1))


def test_one_rank_alone_is_not_named() -> None:
    assert merge([record(0, MISSING)]) == [MISSING]


def test_all_is_combined() -> None:
    known = combined([record(0), record(1, ended=False)])
    assert (known.steps, known.ended, known.reached.rows) == (8, False, {"train.py": (1, 2)})


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (replica(0, 1.0, 2.0), replica(1, 1.0, 2.0), ""),
        (replica(0, 1.0, 2.0), replica(1, 1.0, 2.0 + 1e-8), ""),
        (replica(0, 1.0, 2.0), replica(1, 1.0, 2.1), "after step 2 (`weight` is the first)"),
        (replica(0, 1.0, 2.0, 3.0), replica(1, 1.1, 2.0, 3.1), ""),
        (replica(0, 1.0, 2.0), replica(1, 1.0, 2.1, joined=True), ""),
        (replica(0, 1.0, steps=3), replica(1, 1.0, steps=2), "rank 0 has taken 3, rank 1 has taken 2"),
        (replica(0, 1.0, steps=3), replica(1, 1.0, steps=2, joined=True), ""),
        (replica(0, 1.0), dataclasses.replace(replica(1, 2.0), index=1), ""),
        (replica(0, float("nan")), replica(1, float("nan")), ""),
    ],
    ids=["same", "rounded", "drift", "averaged", "joined", "uneven", "uneven-joined", "another-model", "nan"],
)
def test_replicas_are_compared(first: Replica, second: Replica, words: str) -> None:
    found = merge([record(0, replicas=(first,)), record(1, replicas=(second,))])
    assert [each.code for each in found] == ["GL710"] * bool(words)
    assert all(words in each.message for each in found)


def test_a_rank_that_crashed_has_no_count_of_steps() -> None:
    first, second = replica(0, 1.0, steps=3), replica(1, 1.0, steps=2)
    assert merge([record(0, replicas=(first,)), record(1, replicas=(second,), ended=False)]) == []


@pytest.mark.parametrize(
    ("ranks", "words"), [((3,), "rank 3"), ((0, 1), "ranks [0, 1]"), ((0, 1, 2, 5), "ranks [0-2, 5]")]
)
def test_ranks_have_short_names(ranks: tuple[int, ...], words: str) -> None:
    assert named(ranks) == words
