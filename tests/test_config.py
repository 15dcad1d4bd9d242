"""`[tool.gradlint]`: where it is looked for, what it may say, and which files are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradlint.config import Settings, SettingsError, find_settings
from gradlint.static import check_paths
from gradlint.static.sources.discovery import discover

LOOP = """\
import torch

model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.randn(8, 4, 2):
    model(x).mean().backward()
    optimizer.step()
"""


def configure(folder: Path, table: str) -> None:
    (folder / "pyproject.toml").write_text(f"[tool.gradlint]\n{table}\n", encoding="utf-8")


def test_every_key(tmp_path: Path) -> None:
    configure(
        tmp_path,
        """
        select = ["GL1"]
        ignore = ["GL101"]
        extend-select = ["GL3"]
        exclude = ["a/"]
        extend-exclude = ["b.py"]
        per-file-ignores = {"tests/" = ["GL104"]}
        preview = true
        accumulation-steps = 4
        """,
    )
    assert find_settings(tmp_path) == Settings(
        select=("GL1",),
        ignore=("GL101",),
        extend_select=("GL3",),
        exclude=("a/",),
        extend_exclude=("b.py",),
        per_file_ignores=(("tests/", ("GL104",)),),
        preview=True,
        accumulation_steps=4,
        root=str(tmp_path.resolve()),
    )


def test_nearest_table_counts_and_a_pyproject_without_one_is_passed_over(tmp_path: Path) -> None:
    inner = tmp_path / "package" / "module"
    inner.mkdir(parents=True)
    configure(tmp_path, 'select = ["GL1"]')
    (inner / "pyproject.toml").write_text('[project]\nname = "x"\n', encoding="utf-8")
    assert find_settings(inner / "train.py").select == ("GL1",)
    configure(inner, 'select = ["GL3"]')
    assert find_settings(inner / "train.py").select == ("GL3",)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('selct = ["GL1"]', "unknown key `selct` in [tool.gradlint]; did you mean `select`?"),
        ('per_file_ignores = {"a" = []}', "did you mean `per-file-ignores`?"),
        ("colour = 1", "known keys are accumulation-steps, exclude"),
        ('select = ["GL1O1"]', "unknown rule code `GL1O1`; did you mean `GL101`?"),
        ('ignore = ["missing-zero-grad"]', "did you mean `GL101`?"),
        ('extend-select = ["E501"]', "`gradlint rule --all` lists them"),
        ('per-file-ignores = {"a" = ["GL1O1"]}', "did you mean `GL101`?"),
        ('select = "GL1"', "must be a list of strings"),
        ("exclude = [1]", "must be a list of strings"),
        ('per-file-ignores = ["a"]', "must be a table"),
        ('preview = "yes"', "must be true or false"),
        ("accumulation-steps = 0", "must be a number of batches"),
        ("accumulation-steps = true", "must be a number of batches"),
        ("select = [", "pyproject.toml: "),
    ],
    ids=lambda text: text.split(" ")[0] if "=" in text else None,
)
def test_wrong_setting_is_named(tmp_path: Path, table: str, said: str) -> None:
    configure(tmp_path, table)
    with pytest.raises(SettingsError) as caught:
        find_settings(tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_table_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool]\ngradlint = 1\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="must be a table"):
        find_settings(tmp_path)


@pytest.mark.parametrize(
    ("settings", "selected"),
    [
        (Settings(), True),
        (Settings(select=("GL3",)), False),
        (Settings(select=("GL1",)), True),
        (Settings(ignore=("GL101",)), False),
        (Settings(ignore=("GL1",)), False),
        (Settings(select=("GL101",), ignore=("GL1",)), True),
        (Settings(extend_select=("GL101",), ignore=("GL1",)), True),
        (Settings(select=("GL101",), ignore=("GL101",)), False),
        (Settings(select=()), False),
    ],
)
def test_longest_prefix_decides_about_gl101(settings: Settings, selected: bool) -> None:
    assert settings.selects("GL101") is selected


def plant(folder: Path, *names: str) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def found(*paths: str, settings: Settings | None = None, force: bool = False) -> list[str]:
    return [Path(file.path).as_posix() for file in discover(paths, settings or Settings(), force_exclude=force)]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_python_files_are_found_in_order_and_once(tree: Path) -> None:
    plant(tree, "b.py", "a/c.py", "a/b.pyw", "a/data.csv", "d.py.txt")
    assert found(".", "a", "b.py", str(tree)) == ["a/b.pyw", "a/c.py", "b.py"]


@pytest.mark.parametrize(
    "folder", [".git", ".venv", "venv", "node_modules", "build", "dist", "__pycache__", ".nox", ".tox", "site-packages"]
)
def test_usual_exclusions(tree: Path, folder: str) -> None:
    plant(tree, f"{folder}/a.py", f"src/{folder}/a.py", "src/a.py")
    assert found(".") == ["src/a.py"]
    assert found(folder) == [f"{folder}/a.py"]
    assert found(f"{folder}/a.py") == [f"{folder}/a.py"]


def test_virtual_environment_of_any_name(tree: Path) -> None:
    plant(tree, "mine/pyvenv.cfg", "mine/lib/a.py", "b.py")
    assert found(".") == ["b.py"]


def test_gitignore_nested_negated_and_above(tree: Path) -> None:
    plant(
        tree, ".git/HEAD", "src/generated/a.py", "src/generated/keep.py", "src/x_pb2.py", "src/own_pb2.py", "src/b.py"
    )
    (tree / ".gitignore").write_text("*_pb2.py\n", encoding="utf-8")
    (tree / "src" / ".gitignore").write_text("generated/*\n!generated/keep.py\n!own_pb2.py\n", encoding="utf-8")
    kept = ["src/b.py", "src/generated/keep.py", "src/own_pb2.py"]
    assert found(".") == kept
    assert found("src") == kept


def test_gitignore_above_counts_within_a_work_tree_only(tree: Path) -> None:
    plant(tree, "src/a.py")
    (tree / ".gitignore").write_text("a.py\n", encoding="utf-8")
    assert found("src") == ["src/a.py"]
    plant(tree, ".git/HEAD")
    assert found("src") == []


def test_ignored_folder_is_read_if_it_is_named(tree: Path) -> None:
    plant(tree, ".git/HEAD", "scratch/a.py")
    (tree / ".gitignore").write_text("scratch/\n", encoding="utf-8")
    assert found(".") == []
    assert found("scratch") == ["scratch/a.py"]


def test_exclude_replaces_and_extend_exclude_adds(tree: Path) -> None:
    plant(tree, "build/a.py", "old/b.py", "c.py")
    root = str(tree)
    assert found(".", settings=Settings(exclude=("old",), root=root)) == ["build/a.py", "c.py"]
    assert found(".", settings=Settings(extend_exclude=("old/",), root=root)) == ["c.py"]
    assert found("old/b.py", settings=Settings(extend_exclude=("old/",), root=root)) == ["old/b.py"]
    assert found("old/b.py", settings=Settings(extend_exclude=("old/",), root=root), force=True) == []


def test_symbolic_link_to_a_folder_above_is_no_loop(tree: Path) -> None:
    plant(tree, "src/a.py")
    (tree / "src" / "up").symlink_to(tree, target_is_directory=True)
    assert found(".") == ["src/a.py"]


def test_per_file_ignores_are_relative_to_the_pyproject(tree: Path) -> None:
    for name in ("tests/a.py", "src/b.py"):
        plant(tree, name)
        (tree / name).write_text(LOOP, encoding="utf-8")
    settings = Settings(per_file_ignores=(("tests/", ("GL1",)),), root=str(tree))
    places = [item.location.filename for item in check_paths(["."], settings).diagnostics]
    assert places == [str(Path("src", "b.py"))]


WINDOW = """\
import torch

model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.randn(8, 4, 2):
    optimizer.zero_grad()
    model(x).mean().backward()
    if full(x):
        optimizer.step()
for x in torch.randn(8, 4, 2):  # gradlint: accumulate=1
    optimizer.zero_grad()
    model(x).mean().backward()
    if full(x):
        optimizer.step()
"""


def test_a_window_is_declared_for_every_loop_that_does_not_say_it_itself(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(WINDOW, encoding="utf-8")
    (tmp_path / "unguarded.py").write_text(LOOP, encoding="utf-8")

    def found() -> list[tuple[str, int]]:
        return [(item.code, item.location.row) for item in check_paths([tmp_path]).diagnostics]

    configure(tmp_path, "")
    assert found() == [("GL101", 7)]
    configure(tmp_path, "accumulation-steps = 4")
    assert found() == [("GL701", 6)]
