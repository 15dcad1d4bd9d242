"""Projects of several files: each section of the pages in `tests/projects` is one, with what must be found in each file.

A block opens with the file's name: ```` ```py pkg/engine.py ````.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pages import EVERYTHING, Block, Seen, read_blocks

from gradlint.config import Settings
from gradlint.diagnostics import Side
from gradlint.static import check_paths, check_source

PAGES = sorted((Path(__file__).parent.parent / "projects").glob("*.md"))


@dataclass(frozen=True)
class Project:
    """A section of a page: the files of one project."""

    page: str
    heading: str
    files: tuple[tuple[str, Block], ...]


def projects() -> Iterator[Project]:
    for page in PAGES:
        sections: dict[str, list[tuple[str, Block]]] = {}
        for block in read_blocks(page):
            [name] = block.info
            sections.setdefault(block.heading, []).append((name, block))
        yield from (Project(page.name, heading, tuple(files)) for heading, files in sections.items())


PROJECTS = list(projects())


def written(project: Project, folder: Path) -> None:
    for name, block in project.files:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.source, encoding="utf-8")


def expected(project: Project) -> set[tuple[str, Seen]]:
    return {
        (name, Seen(seen.row - block.row + 1, seen.code))
        for name, block in project.files
        for seen in block.expected(Side.STATIC)
    }


@pytest.mark.parametrize("project", PROJECTS, ids=lambda item: re.sub(r"\W+", "-", f"{item.page}-{item.heading}"))
def test_project_has_these_findings(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(project, tmp_path)
    monkeypatch.chdir(tmp_path)
    found = check_paths(["."], EVERYTHING).diagnostics
    assert {(item.location.filename, Seen(item.location.row, item.code)) for item in found} == expected(project)


def test_every_page_has_projects_that_are_found_and_projects_that_are_silent() -> None:
    for page in PAGES:
        mine = [project for project in PROJECTS if project.page == page.name]
        assert {bool(expected(project)) for project in mine} == {True, False}, page.name


STEP = """\
def step(model, x, y, criterion, optimizer):
    criterion(model(x), y).backward()
    optimizer.step()
"""
MAIN = """\
import torch
from steps import step

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in torch.utils.data.DataLoader([]):
    step(model, x, y, torch.nn.MSELoss(), optimizer)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "steps.py").write_text(STEP, encoding="utf-8")
    (tmp_path / "main.py").write_text(MAIN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def places(paths: list[str], settings: Settings = EVERYTHING) -> list[tuple[str, int, str]]:
    return [(item.location.filename, item.location.row, item.code) for item in check_paths(paths, settings).diagnostics]


def test_file_that_nobody_named_is_reported_for_what_a_named_one_makes_of_it(folder: Path) -> None:
    assert places(["main.py"]) == [("steps.py", 3, "GL101")]


@pytest.mark.parametrize("named", ["steps.py", "./steps.py"])
def test_finding_has_the_name_that_the_user_gave_the_file(folder: Path, named: str) -> None:
    assert places(["main.py", named]) == [(named, 3, "GL101")]


def test_names_are_absolute_where_the_given_one_is(folder: Path) -> None:
    assert places([str(folder / "main.py")]) == [(str(folder / "steps.py"), 3, "GL101")]


def test_excluded_file_is_followed_but_not_reported(folder: Path) -> None:
    assert places(["main.py"], Settings(exclude=("steps.py",), root=str(folder))) == []


@pytest.mark.parametrize("paths", [["."], ["main.py"]])
def test_comment_in_the_other_file_counts(folder: Path, paths: list[str]) -> None:
    (folder / "steps.py").write_text(
        STEP.replace("optimizer.step()", "optimizer.step()  # gradlint: ignore[GL101] it accumulates"), encoding="utf-8"
    )
    assert places(paths) == []


def test_other_file_is_read_anew_when_it_has_changed(folder: Path) -> None:
    assert places(["."]) == [("steps.py", 3, "GL101")]
    mended = STEP.replace("    criterion", "    optimizer.zero_grad()\n    criterion")
    (folder / "steps.py").write_text(mended, encoding="utf-8")
    assert places(["."]) == []


def test_source_alone_is_reported_for_itself_only(folder: Path) -> None:
    assert check_source(MAIN, "main.py") == []


@pytest.mark.parametrize("broken", ["def step(:\n", "\0", ""], ids=["syntax", "null", "empty"])
def test_other_file_that_cannot_be_read_is_a_library(folder: Path, broken: str) -> None:
    (folder / "steps.py").write_text(broken, encoding="utf-8")
    assert places(["main.py"]) == []


@pytest.mark.parametrize(
    ("shelf", "home", "found"),
    [
        ("site-packages", "shop", True),
        ("site-packages", "tools", False),
        ("dist-packages", "tools", False),
        ("packages", "tools", True),
    ],
)
def test_of_installed_packages_only_the_own_one_is_in_sight(tmp_path: Path, shelf: str, home: str, found: bool) -> None:
    for package in ("shop", home):
        (tmp_path / shelf / package).mkdir(parents=True, exist_ok=True)
        (tmp_path / shelf / package / "__init__.py").touch()
    (tmp_path / shelf / home / "steps.py").write_text(STEP, encoding="utf-8")
    main = tmp_path / shelf / "shop" / "main.py"
    main.write_text(MAIN.replace("from steps", f"from {home}.steps"), encoding="utf-8")
    assert [code for _, _, code in places([str(main)])] == ["GL101"] * found
