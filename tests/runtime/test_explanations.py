"""Scripts in which torch raises: what is said of it, on which lines, of which variable; and silence once they are mended.

In the scripts, `# GL503 in iteration 2, text` is the finding and a part of its message, `mark: text` the beginning of
what is said of another line, `# help: text` a part of the advice, and `right: code` the line that mends the script.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
import torch

import gradlint
from gradlint.diagnostics import Diagnostic
from gradlint.runtime.runner import run_command

SCRIPTS = sorted((Path(__file__).parent / "raising").glob("*.py"))
FINDING = re.compile(r"# (GL\d{3}) in iteration (\d+), ([^;#]+)")
MARKS = re.compile(r"(?:# mark: |; mark: )([^#]+)")
HELP = re.compile(r"# help: ([^#\n]+)")
RIGHT = re.compile(r"^( *).*# right: (.+)$", re.MULTILINE)


def run(path: Path, text: str) -> list[Diagnostic]:
    with gradlint.watch(output=None) as report:
        exec(compile(text, str(path), "exec"), {"__name__": "__main__"})  # noqa: S102
    return report.diagnostics


def raised(path: Path, *, watched: bool) -> tuple[str, list[Diagnostic]]:
    watching = gradlint.watch(output=None) if watched else contextlib.nullcontext()
    error, report = "", None
    try:
        with watching as report:
            exec(compile(path.read_text("utf-8"), str(path), "exec"), {"__name__": "__main__"})  # noqa: S102
    except (RuntimeError, ValueError, TypeError, AttributeError, AssertionError, LookupError) as caught:
        error = f"{type(caught).__name__}: {caught}"
    return error, report.diagnostics if report is not None else []


def stated(path: Path) -> tuple[tuple[str, int, int, str], set[tuple[int, str]]]:
    finding, marks = None, set()
    for row, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if match := FINDING.search(line):
            finding = (match[1], row, int(match[2]), match[3].strip())
        for said in MARKS.findall(line):
            marks |= {(row, text.strip()) for text in said.split(";")}
    assert finding is not None
    return finding, marks


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_error_is_explained(path: Path) -> None:
    (code, row, iteration, said), marks = stated(path)
    error, [found] = raised(path, watched=True)
    assert error
    assert error == raised(path, watched=False)[0], "torch's message is its own"
    assert (found.code, found.location.row, found.iteration) == (code, row, iteration)
    assert said in found.message
    assert all(text.strip() in found.help for text in HELP.findall(path.read_text("utf-8")))
    told = {(each.location.row, each.text) for each in found.related}
    assert len(told) == len(marks)
    assert all(any(there == where and text in words for there, words in told) for where, text in marks), told


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_mended_script_is_silent(path: Path) -> None:
    text = path.read_text("utf-8")
    mended = RIGHT.sub(r"\1\2", text)
    assert mended != text
    assert run(path, mended) == []


def test_refusal_that_the_program_catches_is_not_explained() -> None:
    with gradlint.watch(output=None) as report, contextlib.suppress(RuntimeError):
        torch.ones(2, requires_grad=True).exp().backward()
    assert report.diagnostics == []


@pytest.mark.parametrize(
    "line",
    [
        "log.add(w.grad)",
        "torch.nn.GroupNorm(1, 1)(torch.ones(1, 1))",
        "list(log.__class__.mro)",
        "(1.0).backward()",
        "bool(w)",
        "copy.deepcopy([w * 2])",
    ],
)
def test_error_of_another_kind_is_not_explained(tmp_path: Path, line: str) -> None:
    path = tmp_path / "script.py"
    path.write_text(f"import copy, torch\nlog, w = None, torch.zeros(2, requires_grad=True)\n{line}\n", "utf-8")
    assert raised(path, watched=True)[1] == []


@pytest.mark.parametrize("name", ["two_losses", "no_scalar", "exhausted"])
def test_torch_has_the_first_word(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    [path] = (each for each in SCRIPTS if each.stem == name)
    message, _ = raised(path, watched=False)
    assert run_command(str(path), []) == 1
    told = capsys.readouterr().err
    assert told.index(message) < told.index("error[GL")
