"""The lists: commits that fixed a training-loop mistake, and training loops that were read and judged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VISIBLE = ("function", "file", "cross-file", "no")
"""How much of a program must be in sight to see a case."""
VERDICTS = ("bug", "clean", "arguable")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a tool said: `row` 0 is the file as a whole; `cell` counts all cells of a notebook, from 1 (0: no notebook)."""

    path: str
    row: int
    code: str
    severity: str = "warning"
    cell: int = 0


@dataclass(frozen=True, slots=True)
class Case:
    """A commit that fixed a mistake; `rows` are those of the mistake, in the text of the file before it."""

    name: str
    repo: str
    before: str
    after: str
    path: str
    after_path: str
    rows: tuple[int, ...]
    visible: str


@dataclass(frozen=True, slots=True)
class Loop:
    """A function, a script or a cell that trains, and what is to be said of it; `line` is where a bug is (0: unknown)."""

    repo: str
    commit: str
    path: str
    function: str
    rows: tuple[int, int]
    verdict: str
    line: int
    note: str


def read_cases(path: Path) -> list[Case]:
    """Return the cases of a `bugs.jsonl` that have a fix."""
    return [
        Case(
            row["id"], row["repo"], row["parent_commit"], row["fix_commit"], row["path"],
            row.get("after_path", row["path"]), tuple(row["buggy_lines"]), row["statically_visible"],
        )
        for row in _rows(path)
        if row.get("fix_commit")
    ]  # fmt: skip


def read_loops(path: Path) -> list[Loop]:
    """Return the loops of a `loops.jsonl`."""
    return [
        Loop(
            row["repo"], row["commit"], row["path"], row["function"], (row["lines"][0], row["lines"][1]),
            row["verdict"], row.get("line") or 0, row.get("note") or "",
        )
        for row in _rows(path)
    ]  # fmt: skip


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    yield from (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
