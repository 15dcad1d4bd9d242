"""The examples: the wrong twin is found by both sides as their README says, the right one by neither."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from click.testing import CliRunner

import gradlint
from gradlint.cli import main

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
ROWS = re.findall(r"^\| `(\w+)` \| (GL\d{3}) \|", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_every_folder_is_in_the_table() -> None:
    assert sorted(folder for folder, _ in ROWS) == sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())


@pytest.mark.parametrize(("folder", "code"), ROWS)
def test_reading_finds_the_mistake_and_nothing_else(folder: str, code: str) -> None:
    report = gradlint.check_paths([EXAMPLES / folder])
    assert [(Path(item.location.filename).name, item.code) for item in report.diagnostics] == [("buggy.py", code)]


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize(("folder", "code"), ROWS)
def test_watching_finds_the_mistake_and_nothing_else(folder: str, code: str) -> None:
    pytest.importorskip("torch")
    for name, codes in (("buggy.py", [code]), ("fixed.py", [])):
        with gradlint.watch(output=None) as report:
            runpy.run_path(str(EXAMPLES / folder / name), run_name="__main__")
        assert [item.code for item in report.diagnostics] == codes, name


def test_readme_shows_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    printed = CliRunner().invoke(main, ["examples/missing_zero_grad/buggy.py"]).stdout.split("\n\n")[0]
    assert f"```\n{printed}\n```\n" in (ROOT / "README.md").read_text(encoding="utf-8")
