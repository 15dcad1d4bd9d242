"""The benchmark on labelled real code: what counts as caught, as flagged and as near, on made-up labels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from labelled.labels import Case, Finding, Loop, read_cases, read_loops
from labelled.notebooks import cells_of, places_of
from labelled.scoring import NEAR, Score, about, caught_by
from labelled.tools import TOOLS
from labelled.trees import Trees, callers

ROOT = Path(__file__).resolve().parent.parent
CASE = Case("slip", "o/n", "1" * 40, "2" * 40, "train.py", "train.py", (20, 22), "function")


def loop(path: str = "train.py", verdict: str = "clean", rows: tuple[int, int] = (10, 30), **more: object) -> Loop:
    words = {"function": "train", "line": 0, "note": "", **more}
    return Loop("o/n", "1" * 40, path, rows=rows, verdict=verdict, **words)  # type: ignore[arg-type]


def said(row: int, code: str = "X1", path: str = "train.py", severity: str = "warning", cell: int = 0) -> Finding:
    return Finding(path, row, code, severity, cell)


def notebook(*cells: str) -> str:
    table = [{"cell_type": "markdown", "source": ["text"]}]
    table += [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    return json.dumps({"cells": table}, indent=1)


def rows_about(loops: list[Loop], found: list[Finding], text: str = "") -> list[list[int]]:
    return [[item.row for item in items] for items in about(loops, found, lambda _: text)]


@pytest.mark.parametrize(
    ("before", "after", "caught"),
    [
        ([said(20)], [], ["X1"]),
        ([said(20)], [said(21)], []),
        ([said(20)], [said(20, "X2")], ["X1"]),
        ([said(20 - NEAR)], [], ["X1"]),
        ([said(20 - NEAR - 1)], [], []),
        ([said(22 + NEAR)], [], ["X1"]),
        ([said(22 + NEAR + 1)], [], []),
        ([said(20), said(90)], [said(90)], ["X1"]),
        ([said(20), said(90)], [said(20), said(90)], []),
        ([said(0)], [], ["X1"]),
        ([said(20, path="other.py")], [], []),
    ],
)
def test_a_case_is_caught_by_what_is_near_it_and_gone_after_the_fix(
    before: list[Finding], after: list[Finding], caught: list[str]
) -> None:
    assert caught_by(CASE, before, after, "") == caught


def test_a_file_may_have_another_name_after_the_fix() -> None:
    moved = Case(**{**{name: getattr(CASE, name) for name in CASE.__slots__}, "after_path": "fit.py"})
    assert caught_by(moved, [said(20)], [said(20, path="fit.py")], "") == []
    assert caught_by(moved, [said(20)], [said(20)], "") == ["X1"]


def test_a_case_in_a_notebook_is_near_what_stands_in_its_cell() -> None:
    text = notebook("import torch", "for x in loader:\n    loss.backward()\n    optimizer.step()")
    row = next(number for number, line in enumerate(text.splitlines(), 1) if "backward" in line)
    assert places_of((row,), text) == [(3, 2)]
    case = Case("nb", "o/n", "1" * 40, "2" * 40, "a.ipynb", "a.ipynb", (row,), "function")
    assert caught_by(case, [said(3, path="a.ipynb", cell=3)], [], text) == ["X1"]
    assert caught_by(case, [said(1, path="a.ipynb", cell=2)], [], text) == []


def test_a_loop_is_flagged_in_its_rows_and_a_bug_near_its_line_too() -> None:
    assert rows_about([loop()], [said(9), said(10), said(30), said(31)]) == [[10, 30]]
    assert rows_about([loop(verdict="bug", line=30)], [said(30 + NEAR), said(31 + NEAR)]) == [[30 + NEAR]]
    assert rows_about([loop()], [said(12, path="other.py")]) == [[]]


def test_what_is_said_of_a_file_is_said_of_its_bug_or_of_its_first_loop() -> None:
    first, second = loop(), loop(rows=(40, 60))
    assert rows_about([first, second], [said(0)]) == [[0], []]
    assert rows_about([first, loop(verdict="bug", rows=(40, 60))], [said(0)]) == [[], [0]]
    assert rows_about([first], [said(0, path="other.py")]) == [[]]


def test_a_loop_of_a_notebook_is_in_the_cell_with_its_function() -> None:
    text = notebook("def test():\n    model.eval()", "def train():\n    loss.backward()", "x = 1\noptimizer.step()")
    assert cells_of(loop("a.ipynb", rows=(1, 2)), text) == {3}
    assert cells_of(loop("a.ipynb", rows=(2, 2), function="<module>"), text) == {2, 3, 4}
    assert cells_of(loop("a.ipynb", rows=(1, 2), note="see cell 7: x"), text) == {8}
    found = [said(2, path="a.ipynb", cell=2), said(2, path="a.ipynb", cell=3)]
    assert rows_about([loop("a.ipynb", rows=(1, 2))], found, text) == [[2]]


def test_the_score_counts_warnings_as_flags_and_everything_as_findings() -> None:
    score = Score()
    score.add_case(CASE, ["X1"])
    score.add_case(CASE, [])
    score.add_loop(loop(verdict="bug"), [said(12)])
    score.add_loop(loop(), [said(12, severity="info")])
    score.add_loop(loop(), [said(12)])
    score.add_loop(loop(verdict="arguable"), [said(12)])
    assert {verdict: str(tally) for verdict, tally in score.loops.items()} == {
        "bug": "1/1", "clean": "1/2", "arguable": "1/1",
    }  # fmt: skip
    assert (score.findings, score.precision, round(score.recall, 2)) == (4, 0.5, 0.67)
    assert [line.split()[0] for line in score.details] == ["case", "case", "bug", "clean", "arguable"]


def test_lists_are_read_without_what_has_no_fix(tmp_path: Path) -> None:
    bug = {"id": "a", "repo": "o/n", "parent_commit": "1", "fix_commit": "2", "path": "x.py", "buggy_lines": [3]}
    rows = [{**bug, "statically_visible": "file"}, {**bug, "fix_commit": None, "statically_visible": "no"}]
    (tmp_path / "bugs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert [(case.name, case.rows, case.after_path) for case in read_cases(tmp_path / "bugs.jsonl")] == [
        ("a", (3,), "x.py")
    ]
    row = {"repo": "o/n", "commit": "1", "path": "x.py", "function": "f", "lines": [1, 9], "verdict": "clean"}
    (tmp_path / "loops.jsonl").write_text(json.dumps({**row, "line": None}) + "\n")
    assert [(each.rows, each.line, each.note) for each in read_loops(tmp_path / "loops.jsonl")] == [((1, 9), 0, "")]


def test_a_tree_has_what_is_read_and_knows_who_imports_whom(tmp_path: Path) -> None:
    source = tmp_path / "mirror" / "o+n" / "repo"
    files = {
        "pkg/loop.py": "x = 1\n", "pkg/__init__.py": "", "main.py": "from pkg import loop\n", "other.py": "import loops\n",
        "tool.py": "import pkg\n", "notes.txt": "", "two\nlines.py": "import pkg.loop\n",
    }  # fmt: skip
    for path, text in files.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text(text)
    git = ["git", "-C", str(source), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    trees = Trees(tmp_path / "mirror", tmp_path / "trees")
    tree = trees.at("o/n", commit)
    assert tree is not None
    assert {file.relative_to(tree).as_posix() for file in tree.rglob("*") if file.is_file()} == set(files) - {
        "notes.txt"
    }
    assert callers(tree, ["pkg/loop.py"]) == {"main.py", "two\nlines.py"}
    assert callers(tree, ["pkg/__init__.py"]) == {"main.py", "tool.py", "two\nlines.py"}
    assert trees.at("o/n", "0" * 40) is None
    assert trees.at("o/absent", commit) is None


@pytest.mark.parametrize(
    ("tool", "answer", "found"),
    [
        ("torch-preflight", '{"diagnostics": [{"path": "a.py", "line": 3, "code": "TG003", "severity": "note"}]}',
         [Finding("a.py", 3, "TG003", "info")]),
        ("torchfix", "a.py:3:1: TOR102 [*] words\nFinished checking\n", [Finding("a.py", 3, "TOR102")]),
        ("dslinter", '[{"path": "a.py", "line": 3, "symbol": "gradient-clear-pytorch"}]',
         [Finding("a.py", 3, "gradient-clear-pytorch")]),
        ("mldoct", 'hello\n{"path": "a.py", "row": 0, "code": "missing_clip", "severity": "info"}\n',
         [Finding("a.py", 0, "missing_clip", "info")]),
        ("gradlint", '[{"filename": "a.ipynb", "cell": 2, "location": {"row": 3}, "code": "GL101", "severity": "error"}]',
         [Finding("a.ipynb", 3, "GL101", "error", 2)]),
        ("torch-preflight", "a crash", []),
    ],
)  # fmt: skip
def test_answers_are_read(tool: str, answer: str, found: list[Finding]) -> None:
    assert list(TOOLS[tool].read(answer)) == found


def test_the_trees_stay_out_of_the_project(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/realcode.py", "--lists", str(tmp_path), "--mirror", str(tmp_path)]
    done = subprocess.run([*command, "--work", "benchmarks/x"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "inside the project" in done.stderr
