"""The wheel: what is in it, and that it works away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [built] = folder.glob("torch_gradlint-*.whl")
    return built


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> dict[str, str]:
    """The environment in which the unpacked wheel is the gradlint that Python finds."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_every_page_and_module_and_table_is_in_it(wheel: Path) -> None:
    pages = {f"gradlint/rules/{page.name}" for page in (ROOT / "rules").glob("*.md")}
    package = {
        file.relative_to(ROOT).as_posix()
        for suffix in ("*.py", "*.toml", "py.typed")
        for file in (ROOT / "gradlint").rglob(suffix)
    }
    assert pages | package <= names(wheel)
    assert "gradlint/py.typed" in names(wheel)


def test_nothing_else_is_in_it(wheel: Path) -> None:
    assert {name.split("/")[0] for name in names(wheel) if ".dist-info/" not in name} == {"gradlint"}


def test_it_finds_its_own_pages(installed: dict[str, str], tmp_path: Path) -> None:
    code = "import gradlint.rulebook as r; print(r.rules_folder()); print(len(r.rules()))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=installed, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    folder, count = done.stdout.split()
    assert Path(folder) == tmp_path / "gradlint" / "rules"
    assert int(count) == len(list((ROOT / "rules").glob("GL*.md")))


def test_it_checks_a_file(installed: dict[str, str], tmp_path: Path) -> None:
    buggy = ROOT / "examples" / "missing_zero_grad" / "buggy.py"
    done = subprocess.run(
        [sys.executable, "-m", "gradlint", "--output-format", "concise", str(buggy)],
        env=installed,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert " GL101 " in done.stdout


def test_metadata(wheel: Path) -> None:
    [metadata] = [name for name in names(wheel) if name.endswith("/METADATA")]
    lines = zipfile.ZipFile(wheel).read(metadata).decode("utf-8").splitlines()
    assert "Name: torch-gradlint" in lines
    required = [line for line in lines if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert sorted(line.split()[1].split(">")[0] for line in required) == ["click", "libcst", "pathspec", "tomli"]


def test_ci_runs_the_line_of_the_readme() -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Test it\n")[1].split("\n## ")[0]
    [line] = section.split("```sh\n")[1].split("```")[0].splitlines()
    assert "pip install" in line
    assert "pytest" in line
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    extract = next(row for row in script.splitlines() if row.startswith("line=$(sed"))
    done = subprocess.run(
        ["bash", "-c", f'{extract}; echo "$line"'], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{line}\n"
