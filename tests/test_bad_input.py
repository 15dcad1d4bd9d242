"""Input that cannot be checked: one clear line each, the rest of the work done, and exit code 2."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from gradlint.cli import main
from gradlint.config import Settings
from gradlint.static import check_paths, check_source, engine
from gradlint.static.engine import check_bytes
from gradlint.static.sources import reading
from gradlint.static.understanding import Understanding

BUGGY = """\
import torch

model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.randn(8, 4, 2):
    model(x).mean().backward()
    optimizer.step()
"""

NO_PYTHON = {  # name: source, row, what is said, what is to be done
    "syntax-error": (b"import torch\n\ndef f(:\n", 3, "cannot parse this line", "mend it"),
    "unfinished": (b"import torch\nf(\n", 2, "was never closed", "mend it"),
    "wrong-indent": (b"if a:\nb\n", 2, "indent", "mend it"),
    "print-statement": (b"import torch\nprint 'loss', loss\n", 2, "Python 2", "convert"),
    "print-of-a-name": (b"print loss\n", 1, "Python 2", "convert"),
    "except-comma": (b"try:\n    f()\nexcept E, e:\n    pass\n", 3, "Python 2", "convert"),
    "raise-comma": (b"raise E, 'text'\n", 1, "Python 2", "convert"),
    "octal": (b"x = 0777\n", 1, "Python 2", "convert"),
    "not-equal": (b"x = a <> b\n", 1, "Python 2", "convert"),
    "magic": (b"import torch\n%matplotlib inline\n", 2, "notebook command", "delete it"),
    "shell": (b"!pip install torch\n", 1, "notebook command", "delete it"),
    "transcript": (b">>> import torch\n>>> x = 1\n", 1, "transcript", "prompts"),
    "null-byte": (b"import torch\nx = '\0'\n", 1, "null byte", "exclude"),
    "undecodable": (b"import torch\n\n# caf\xe9\n", 3, "byte 0xe9 is not valid utf-8", "UTF-8"),
    "utf-16": ("import torch\n".encode("utf-16"), 1, "byte 0x", "UTF-8"),
    "unknown-encoding": (b"# coding: klingon\nimport torch\n", 1, "unknown encoding: klingon", "UTF-8"),
    "deep": (b"x = " + b"(" * 5000 + b"1" + b")" * 5000, 1, "nest", "exclude"),
    "deep-chain": (b"x = " + b"-" * 100_000 + b"1", 1, "nest", "exclude"),
}


@pytest.mark.parametrize(("data", "row", "what", "remedy"), NO_PYTHON.values(), ids=NO_PYTHON)
def test_no_python_is_one_clear_line(data: bytes, row: int, what: str, remedy: str) -> None:
    [found] = check_bytes(data, "f.py", Settings())
    assert (found.code, found.location.filename, found.location.row) == ("GL000", "f.py", row)
    assert what in found.message
    assert remedy in found.help
    assert "\n" not in found.message


PYTHON = {
    "empty": b"",
    "byte-order-mark": b"\xef\xbb\xbfimport torch\n",
    "coding-comment": b"# -*- coding: latin-1 -*-\n# caf\xe9\n",
    "carriage-returns": b"import torch\r\nx = (1,\r\n2)\r\n",
    "old-macintosh": b"import torch\rx = 1\r",
    "form-feed": b"import torch\n\x0c\nx = 1\n",
    "no-last-newline": b"import torch",
    "invalid-escape": b"x = '\\d'\n",
    "print-call": b"print ('loss', 1)\n",
    "angle-brackets-in-a-string": b"x = '<>'\n",
}


@pytest.mark.parametrize("data", PYTHON.values(), ids=PYTHON)
@pytest.mark.filterwarnings("error")
def test_python_is_read_in_silence(data: bytes) -> None:
    assert check_bytes(data, "f.py", Settings()) == []


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"], ids=ascii)
def test_rows_and_comments_do_not_depend_on_newlines(newline: str) -> None:
    [found] = check_bytes(BUGGY.replace("\n", newline).encode(), "f.py", Settings())
    assert (found.code, found.location.row) == ("GL101", 7)
    excused = BUGGY.replace("step()\n", "step()  # gradlint: ignore[GL101]\n# the end\n")
    assert check_bytes(excused.replace("\n", newline).encode(), "f.py", Settings()) == []


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@example(b"import torch\n\x00")
@example(b"# coding: utf-7\n+AGEA")
@example(b"# coding: rot13\n")
@example(b"# coding: base64\n")
def test_no_bytes_are_a_crash(data: bytes) -> None:
    assert {found.code for found in check_bytes(data, "f.py", Settings())} <= {"GL000"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one wrong file, which is the current one."""
    (tmp_path / "buggy.py").write_text(BUGGY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(*args: str) -> tuple[int, list[str], str]:
    """Return the exit code, the concise findings without the summary, and stderr."""
    result = CliRunner().invoke(main, ["--output-format", "concise", *args])
    return result.exit_code, result.stdout.splitlines()[:-1], result.stderr


def test_missing_path_does_not_stop_the_rest(project: Path) -> None:
    code, found, complaint = said("no/such/place", "buggy.py")
    assert code == 2
    assert [line.split(": ")[1][:5] for line in found] == ["GL101", "GL000"]
    assert found[1] == "no/such/place:1:1: GL000 there is no such file or folder"
    assert complaint == "error: 1 file could not be checked (GL000)\n"


def test_broken_file_does_not_stop_the_rest(project: Path) -> None:
    (project / "a.py").write_text("import torch.optim.lr_scheduler\ndef f(:\n", encoding="utf-8")
    (project / "b.py").write_bytes(b"import torch.optim.lr_scheduler\n# \xff\n")
    code, found, _ = said(".")
    assert (code, [line[:8] for line in found]) == (2, ["a.py:2:7", "b.py:2:1", "buggy.py"])


def test_file_without_a_word_of_training_is_skipped_in_a_folder_but_read_if_named(project: Path) -> None:
    (project / "template.py").write_text("def {{ name }}(:\n", encoding="utf-8")
    assert said(".")[0] == 1
    assert said("template.py")[0] == 2


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is unreadable to root")
def test_unreadable_file(project: Path) -> None:
    (project / "buggy.py").chmod(0)
    code, [line], _ = said(".")
    assert code == 2
    assert "cannot be read: Permission denied" in line


def test_path_through_a_file(project: Path) -> None:
    code, [line], _ = said("buggy.py/inner.py")
    assert code == 2
    assert "cannot be read: Not a directory" in line


def test_dangling_link(project: Path) -> None:
    (project / "gone.py").symlink_to("nowhere.py")
    assert said("gone.py")[0] == 2


def test_notebook_is_no_silent_success(project: Path) -> None:
    (project / "train.ipynb").write_text('{"cells": ["torch.optim"]}', encoding="utf-8")
    code, [line], _ = said("train.ipynb")
    assert code == 2
    assert "this is no notebook" in line


def test_empty_folder_is_said_and_no_failure(project: Path) -> None:
    (project / "empty").mkdir()
    code, found, complaint = said("empty")
    assert (code, found) == (0, [])
    assert complaint == "warning: no Python files to check in what was named\n"


def test_generated_file_of_5_mb_is_read(project: Path) -> None:
    rows = "".join(f"    ({row}, 'item {row}', [0.{row}, {row}]),\n" for row in range(130_000))
    source = f"{BUGGY}TABLE = [\n{rows}]\n"
    assert len(source) > 5_000_000
    (project / "buggy.py").write_text(source, encoding="utf-8")
    code, [line], _ = said(".")
    assert (code, line[:20]) == (1, "buggy.py:7:5: GL101 ")


def failing(tree: object, source: str, filename: str, *settings: object) -> Understanding:
    """A rule with a defect that shows on one file only."""
    if "defect" in source:
        raise KeyError("optimizer")
    return Understanding((), frozenset())


def test_defect_of_a_rule_is_reported_for_its_file_only(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "analyze", failing)
    (project / "defect.py").write_text("import torch.optim.lr_scheduler\ndefect = 1\n", encoding="utf-8")
    report = check_paths(["."], Settings())
    [found] = report.diagnostics
    assert (report.files, report.failed) == (2, 1)
    assert (found.code, found.location.filename) == ("GL000", "defect.py")
    assert "KeyError: 'optimizer' (test_bad_input.py:" in found.message
    assert "report it" in found.help


def test_unreadable_file_is_no_reason_to_call_its_comments_unused() -> None:
    assert [found.code for found in check_source("x = 1  # gradlint: ignore[GL101]\ndef f(:\n")] == ["GL000"]


def test_executor_changes_nothing(project: Path) -> None:
    (project / "broken.py").write_text("import torch.optim.lr_scheduler\ndef f(:\n", encoding="utf-8")
    with ThreadPoolExecutor(2) as executor:
        assert check_paths(["."], executor=executor) == check_paths(["."])


@pytest.mark.parametrize(
    ("source", "worth"),
    [
        (BUGGY, True),
        ("def step(loss, solver):\n    solver.zero_grad()\n    loss.backward()\n", True),
        ("import lightning as L\nclass M(L.LightningModule): ...\n", True),
        ("import numpy\noptimizer = f()\noptimizer.step()\n", False),
        ("import torch\nx = torch.ones(2)\n", False),
        ("x = 1  # gradlint: ignore[GL101]\n", True),
        ("", False),
    ],
)
def test_words_that_make_a_file_worth_parsing(source: str, worth: bool) -> None:
    assert reading.mentions_training(source.encode()) is worth


def test_script_to_run_needs_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradlint.cli.find_spec", lambda name: None)
    result = CliRunner().invoke(main, ["run", "train.py"])
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: watching a run needs torch, which is not installed: pip install 'torch-gradlint[runtime]'\n"
    )
