"""The command line as a user types it: what it prints where, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gradlint import __version__
from gradlint.cli import main

CLEAN = """\
import torch

model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.randn(8, 4, 2):
    optimizer.zero_grad()
    model(x).mean().backward()
    optimizer.step()
"""
BUGGY = CLEAN.replace("    optimizer.zero_grad()\n", "")
BROKEN = "import torch.optim.lr_scheduler\ndef train(:\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a correct, a wrong and a broken file, which is the current one."""
    for name, source in {"clean.py": CLEAN, "buggy.py": BUGGY, "broken.py": BROKEN}.items():
        (tmp_path / name).write_text(source, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def gradlint(*args: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, args, input=stdin)


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ("clean.py", 0),
        ("check clean.py", 0),
        ("buggy.py", 1),
        ("check buggy.py", 1),
        ("buggy.py clean.py", 1),
        ("broken.py", 2),
        (".", 2),
        ("buggy.py missing.py", 2),
        ("--exit-zero buggy.py", 0),
        ("--exit-zero .", 2),
        ("--ignore GL101 buggy.py", 0),
        ("--ignore GL3,GL1 buggy.py", 0),
        ("--ignore GL1 --extend-select GL101 buggy.py", 1),
        ("--select GL3 buggy.py", 0),
        ("--select GL3 --select GL1 buggy.py", 1),
        ("--select GL3 broken.py", 2),
        ("--ignore GL000 broken.py", 0),
        ("--statistics buggy.py", 1),
        ("--select GL999 clean.py", 2),
        ("--no-such-option clean.py", 2),
        ("rule GL101", 0),
        ("rule GL999", 2),
        ("rule", 2),
        ("rule --all", 0),
        ("--version", 0),
        ("--help", 0),
    ],
)
@pytest.mark.usefixtures("project")
def test_exit_code(args: str, code: int) -> None:
    assert gradlint(*args.split()).exit_code == code


@pytest.mark.usefixtures("project")
def test_full_is_the_default_and_shows_both_places() -> None:
    out = gradlint("buggy.py").stdout
    assert out.startswith("error[GL101]: `optimizer` ")
    assert "--> buggy.py:7:5" in out
    assert "added to by this backward" in out
    assert "= help: " in out
    assert "Found 1 error in 1 file." in out


@pytest.mark.usefixtures("project")
def test_findings_go_to_stdout_and_complaints_to_stderr() -> None:
    result = gradlint("--output-format", "json", "buggy.py", "missing.py")
    assert [item["code"] for item in json.loads(result.stdout)] == ["GL101", "GL000"]
    assert result.stderr == "error: 1 file could not be checked (GL000)\n"


@pytest.mark.usefixtures("project")
def test_nothing_is_said_on_stderr_when_all_went_well() -> None:
    assert gradlint("buggy.py").stderr == ""


@pytest.mark.parametrize("name", ["<stdin>", "src/train.py"])
def test_stdin_is_checked_under_the_given_name(name: str) -> None:
    result = gradlint("-", "--stdin-filename", name, stdin=BUGGY)
    assert result.exit_code == 1
    assert f"--> {name}:7:5" in result.stdout
    assert "optimizer.step()" in result.stdout


def test_clean_stdin() -> None:
    result = gradlint("-", stdin=CLEAN)
    assert (result.exit_code, result.stdout) == (0, "Found nothing in 1 file.\n")


@pytest.mark.usefixtures("project")
def test_stdin_beside_files() -> None:
    result = gradlint("-", "clean.py", "--output-format", "concise", stdin=BUGGY)
    assert [line.split(":")[0] for line in result.stdout.splitlines()[:-1]] == ["<stdin>"]
    assert result.stdout.endswith("in 2 files.\n")


def test_output_file_takes_the_findings(project: Path) -> None:
    result = gradlint("buggy.py", "--output-format", "json", "--output-file", "report.json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert [item["code"] for item in json.loads((project / "report.json").read_text())] == ["GL101"]


@pytest.mark.usefixtures("project")
def test_output_file_that_cannot_be_written_is_one_clear_line() -> None:
    result = gradlint("clean.py", "--output-file", "no/such/folder/report.txt")
    assert result.exit_code == 2
    assert result.stderr == "Error: no/such/folder/report.txt cannot be written: No such file or directory\n"


@pytest.mark.usefixtures("project")
def test_statistics_count_each_rule() -> None:
    assert gradlint("--statistics", ".").stdout.split() == [
        *("1", "GL000", "error", "unreadable-file"),
        *("1", "GL101", "error", "missing-zero-grad"),
    ]


@pytest.mark.usefixtures("project")
def test_statistics_as_json() -> None:
    counts = json.loads(gradlint("--statistics", "--output-format", "json", "buggy.py").stdout)
    assert counts == [{"code": "GL101", "name": "missing-zero-grad", "severity": "error", "count": 1}]


@pytest.mark.parametrize("name", ["GL101", "gl101", "missing-zero-grad"])
def test_rule_prints_its_page(name: str) -> None:
    assert gradlint("rule", name).stdout.startswith("# missing-zero-grad (GL101)\n")


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        ("rule GL1O1", "`GL101`"),
        ("rule missing-zerograd", "`GL101`"),
        ("--select GL1O1 .", "`GL101`"),
        ("--ignore GL-none .", "rule --all"),
        ("--select E501 .", "rule --all"),
    ],
)
def test_unknown_rule_names_the_nearest(args: str, hint: str) -> None:
    result = gradlint(*args.split())
    assert result.exit_code == 2
    assert hint in result.stderr


def test_rule_all_lists_code_severity_sides_and_name() -> None:
    lines = gradlint("rule", "--all").stdout.splitlines()
    [line] = [line for line in lines if line.startswith("GL101")]
    assert line.split()[:4] == ["GL101", "error", "static+runtime", "missing-zero-grad:"]


def test_version() -> None:
    assert gradlint("--version").stdout == f"gradlint {__version__}\n"


@pytest.mark.usefixtures("project")
def test_force_exclude_applies_to_named_files() -> None:
    Path("pyproject.toml").write_text('[tool.gradlint]\nextend-exclude = ["buggy.py"]\n', encoding="utf-8")
    assert gradlint("buggy.py").exit_code == 1
    assert gradlint("--force-exclude", "buggy.py").exit_code == 0


@pytest.mark.usefixtures("project")
def test_it_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "gradlint", "buggy.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Found 1 error in 1 file." in done.stdout
    assert "\x1b" not in done.stdout
