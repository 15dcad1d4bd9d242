"""Results that are kept: a run with a cache finds what one without finds, and analyzes only what a change can reach."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner

import gradlint
from gradlint.cli import main
from gradlint.config import Settings
from gradlint.static import check_paths, engine
from gradlint.static.sources import cache as caches
from gradlint.static.sources import reuse
from gradlint.static.sources.cache import Cache
from gradlint.static.sources.sights import stamp_of, unimplied, untouched

HELPER = """\
def advance(optimizer, loss):
    loss.backward()
    optimizer.step()
"""
LOOP = """\
import torch
from helper import advance

model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.randn(8, 4, 2):
    advance(optimizer, model(x).mean())
"""
FILES = {
    "pyproject.toml": "",
    "loop.py": LOOP,
    "helper.py": f"import torch\n\n\n{HELPER}",
    "alone.py": LOOP.replace("from helper import advance\n", HELPER),
    "quiet.py": "import torch\nfrom torch import nn\nclass Data: ...\nModule = Data\n",
}
CLEARED = FILES["helper.py"].replace("    loss.back", "    optimizer.zero_grad()\n    loss.back")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(folder)
    age(folder)
    return folder


def test_questions_that_stamps_answer_are_not_asked_again(tmp_path: Path) -> None:
    (tmp_path / "there.py").touch()
    questions = [
        ("file", str(tmp_path / "there.py"), True),
        ("file", str(tmp_path / "not.py"), False),
        ("there", str(tmp_path / "package" / "deep" / "module.py"), False),
    ]
    assert unimplied(questions, [(str(tmp_path), stamp_of(str(tmp_path)))]) == {questions[0]}
    asked = unimplied(questions, [])
    assert asked == {questions[0], questions[1], ("folder", str(tmp_path / "package"), False)}
    assert untouched(asked, [])
    (tmp_path / "package").mkdir()
    assert not untouched(asked, [])
    (tmp_path / "package").rmdir()
    (tmp_path / "there.py").unlink()
    assert not untouched(asked, [])


def age(folder: Path) -> None:
    """Make all of a project older than any run, for what is being written may have the same stamp twice."""
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (1_600_000_000, 1_600_000_000))


@pytest.fixture
def analyzed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are analyzed from here on."""
    names: list[str] = []
    analyze = engine.analyze

    def counted(tree: object, source: str, filename: str, *rest: object) -> object:
        names.append(filename)
        return analyze(tree, source, filename, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "analyze", counted)
    return names


def edit(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


CHANGES: dict[str, tuple[Callable[[Path], object], set[str]]] = {  # what is done, and which files are analyzed again
    "nothing": (lambda folder: None, set()),
    "touched": (lambda folder: os.utime(folder / "helper.py"), set()),
    "edited": (edit("alone.py", FILES["alone.py"] + "\n"), {"alone.py"}),
    "helper-edited": (edit("helper.py", CLEARED), {"helper.py", "loop.py"}),
    "helper-gone": (lambda folder: (folder / "helper.py").unlink(), {"loop.py"}),
    "helper-hidden": (lambda folder: (folder / "helper").mkdir(), set()),
    "quiet-edited": (edit("quiet.py", FILES["quiet.py"] + "\n"), set()),
    "quiet-trains": (edit("quiet.py", FILES["alone.py"]), {"quiet.py"}),
    "added": (edit("new.py", FILES["alone.py"]), {"new.py"}),
    "renamed": (lambda folder: (folder / "alone.py").rename(folder / "other.py"), {"other.py"}),
    "ignored": (edit(".gitignore", "alone.py\n"), set()),
    "broken": (edit("alone.py", "import torch.optim\nmodel.eval(\n"), set()),
}


@pytest.mark.parametrize(("change", "again"), CHANGES.values(), ids=CHANGES)
def test_change_reaches_what_rests_on_it(
    change: Callable[[Path], object], again: set[str], project: Path, tmp_path: Path, analyzed: list[str]
) -> None:
    cache = Cache(tmp_path / "cache")
    first = check_paths(["."], cache=cache)
    assert {found.location.filename for found in first.diagnostics} == {"alone.py", "helper.py"}
    change(project)
    analyzed.clear()
    second = check_paths(["."], cache=cache)
    assert set(analyzed) == again
    assert second == check_paths(["."])


def recalled(cache: Cache, settings: Settings | None = None) -> gradlint.static.Report | None:
    settings = settings or Settings(root=os.getcwd())
    return reuse.recall(cache, reuse.Keys(settings).of_run(["."], force_exclude=False))


@pytest.mark.parametrize("name", [name for name in CHANGES if name not in ("nothing", "helper-hidden")])
def test_report_is_recalled_until_something_changes(name: str, project: Path, tmp_path: Path) -> None:
    cache, settings = Cache(tmp_path / "cache"), Settings(root=str(project))
    report = check_paths(["."], settings, cache=cache)
    assert recalled(cache) == report
    CHANGES[name][0](project)
    assert recalled(cache) is None


def test_report_on_files_that_are_being_written_is_not_kept(project: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    (project / "alone.py").write_text(FILES["alone.py"], encoding="utf-8")
    check_paths(["."], Settings(root=str(project)), cache=cache)
    assert recalled(cache) is None


def test_failure_is_not_kept(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr(engine, "analyze", lambda *given: 1 / 0)
        assert check_paths(["."], cache=cache).failed
    assert not check_paths(["."], cache=cache).failed


@pytest.mark.parametrize(
    "settings",
    [Settings(preview=True), Settings(ignore=("GL101",)), Settings(accumulation_steps=2)],
    ids=["preview", "ignore", "accumulation"],
)
def test_other_settings_have_results_of_their_own(settings: Settings, project: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    check_paths(["."], Settings(), cache=cache)
    assert recalled(cache, settings) is None
    assert check_paths(["."], settings, cache=cache) == check_paths(["."], settings)


def test_another_version_has_results_of_its_own(
    project: Path, tmp_path: Path, analyzed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path / "cache")
    check_paths(["."], cache=cache)
    analyzed.clear()
    monkeypatch.setattr(gradlint, "__version__", "99")
    check_paths(["."], cache=cache)
    assert set(analyzed) == {"alone.py", "helper.py", "loop.py"}


def damaged(folder: Path) -> None:
    (folder / caches._NAME).write_bytes(b"SQLite format 3\0" + b"x" * 5000)


def no_folder(folder: Path) -> None:
    folder.rename(folder.with_name("away"))
    folder.write_text("", encoding="utf-8")


def other_table(folder: Path) -> None:
    database = sqlite3.connect(folder / caches._NAME)
    with database:
        database.execute("UPDATE results SET value = ?", (b"no pickle",))
    database.close()


@pytest.mark.parametrize("damage", [damaged, no_folder, other_table])
def test_damaged_cache_is_as_good_as_none(damage: Callable[[Path], None], project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    report = check_paths(["."], cache=Cache(folder))
    damage(folder)
    assert check_paths(["."], cache=Cache(folder)) == report
    assert check_paths(["."], cache=Cache(folder)) == report


def test_cache_that_another_process_holds_is_not_waited_for(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "_PATIENCE", 0)
    report = check_paths(["."], cache=Cache(tmp_path))
    database = sqlite3.connect(tmp_path / caches._NAME, isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    assert check_paths(["."], cache=Cache(tmp_path)) == report
    database.close()


def test_cache_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "_LARGEST", 1000)
    cache = Cache(tmp_path)
    for number in range(20):
        cache.put({bytes([number]): b"x" * 100})
    kept = cache.get(bytes([number]) for number in range(20))
    assert 5 <= len(kept) <= 10


def test_clean_deletes_it(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRADLINT_CACHE_DIR", str(tmp_path / "own"))
    CliRunner().invoke(main, ["check", "--no-cache", "."])
    assert not (tmp_path / "own").exists()
    CliRunner().invoke(main, ["check", "."])
    assert [file.name for file in (tmp_path / "own").iterdir()] == [caches._NAME]
    result = CliRunner().invoke(main, ["clean"])
    assert (result.exit_code, result.stdout, list((tmp_path / "own").iterdir())) == (0, "", [])
    assert CliRunner().invoke(main, ["clean"]).stderr.startswith("There is no cache")


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_executor_and_cache_change_nothing(
    pool: type[ThreadPoolExecutor | ProcessPoolExecutor], project: Path, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    with pool(2) as executor:
        first = check_paths(["."], executor=executor, cache=Cache(tmp_path), progress=lambda *done: told.append(done))
        again = check_paths(["."], executor=executor, cache=Cache(tmp_path))
    assert first == again == check_paths(["."])
    assert told[-1] == (4, 4)


def test_processes_change_nothing(project: Path) -> None:
    for number in range(40):
        (project / f"part_{number}.py").write_text(FILES["alone.py"], encoding="utf-8")
    assert check_paths(["."], jobs=2) == check_paths(["."])


@pytest.mark.parametrize("package", ["loky", "distributed"])
def test_executors_of_others_change_nothing(package: str, project: Path) -> None:
    module = pytest.importorskip(package)
    if package == "loky":
        with module.get_reusable_executor(max_workers=2) as executor:
            assert check_paths(["."], executor=executor) == check_paths(["."])
        return
    with module.Client(n_workers=1, processes=False, dashboard_address=None) as client:
        assert check_paths(["."], executor=client.get_executor()) == check_paths(["."])
