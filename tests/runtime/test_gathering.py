"""Who gathers the records of a run, and whose."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gradlint import records
from gradlint.records import Record
from gradlint.runtime.gathering import VARIABLE, gathering

RANK = {"WORLD_SIZE": "8", "RANK": "5", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "MASTER_PORT": "29500"}


def test_a_rank_knows_the_others_of_its_node() -> None:
    one = gathering(None, RANK)
    assert (one.name, one.rank, one.first, one.kept) == ("rank-5", 5, False, False)
    assert one.peers == ("rank-4", "rank-5", "rank-6", "rank-7")
    assert gathering(None, {**RANK, "RANK": "4", "LOCAL_RANK": "0"}).first
    assert gathering(None, {**RANK, "RANK": "4", "LOCAL_RANK": "0"}).folder == one.folder


@pytest.mark.parametrize(
    "change", [{"MASTER_PORT": "1"}, {"TORCHELASTIC_RESTART_COUNT": "1"}], ids=lambda each: next(iter(each))
)
def test_other_runs_and_attempts_have_other_folders(change: dict[str, str]) -> None:
    assert gathering(None, {**RANK, **change}).folder != gathering(None, RANK).folder


@pytest.mark.parametrize("environment", [{}, {"WORLD_SIZE": "1", "RANK": "0"}, {"WORLD_SIZE": "8", "RANK": "5"}])
def test_whoever_has_no_known_peers_reports_alone(environment: dict[str, str]) -> None:
    alone = gathering(None, environment)
    assert alone.first
    assert alone.peers == (alone.name,)


def test_records_are_kept_where_the_user_says(tmp_path: Path) -> None:
    assert gathering(None, {**RANK, VARIABLE: str(tmp_path)}).folder == tmp_path
    chosen = gathering(str(tmp_path), {})
    own = Record(None, True, 3, ())
    assert chosen.gather(own) == [own]
    assert [records.read(file) for file in records.files(tmp_path)] == [own]


def test_children_of_other_nodes_are_left_to_them(tmp_path: Path) -> None:
    node = {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    first = gathering(str(tmp_path), {**node, "RANK": "0"})
    for name in ("rank-1", "rank-1-child-7-7", "rank-2", "rank-2-child-7-7", "rank-10"):
        records.write(Record(None, True, len(name), ()), tmp_path, name)
    gathered = first.gather(Record(0, True, 0, ()))
    assert gathered is not None
    assert [each.steps for each in gathered] == [0, len("rank-1-child-7-7"), len("rank-1")]


def test_what_a_former_run_left_is_not_read(tmp_path: Path) -> None:
    for name in ("rank-5", "rank-5-child-7-7", "rank-4"):
        records.write(Record(None, True, 1, ()), tmp_path, name)
    gathering(str(tmp_path), RANK).begin()
    assert [file.stem for file in records.files(tmp_path)] == ["rank-4"]


def test_no_folder_is_left_by_those_who_write_while_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    alone = gathering(None, {})
    alone.begin()
    begun = threading.Event()

    def write(name: str) -> bool:
        with contextlib.suppress(FileNotFoundError):
            for written in range(20_000):
                records.write(Record(None, True, 1, ()), alone.folder, f"{name}-{written}")
                begun.set()
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        writers = [threads.submit(write, f"{alone.name}-child-{each}") for each in range(4)]
        begun.wait()
        alone.clear()
        assert all(each.result() for each in writers)
    assert list(tmp_path.iterdir()) == []
