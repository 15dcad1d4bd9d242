"""Imports run one way, and stay light: over the import statements, and in a fresh interpreter."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gradlint

PACKAGE = Path(gradlint.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

BELOW = {  # what a layer must not import
    "core": {"gradlint.static", "gradlint.runtime", "gradlint.reporters", "gradlint.cli", "torch", "libcst", "click"},
    "static": {"gradlint.runtime", "gradlint.reporters", "gradlint.cli", "torch", "click"},
    "runtime": {"gradlint.static", "gradlint.cli", "libcst", "click"},
    "reporters": {"gradlint.static", "gradlint.runtime", "gradlint.cli", "torch", "libcst", "click"},
    "integrations": {"gradlint.static", "gradlint.runtime", "gradlint.cli", "libcst", "click", "torch"},
    "cli": {"torch", "libcst"},
}
HEAVY = {"torch", "libcst", "click", "pathspec", "gradlint.static", "gradlint.runtime", "gradlint.reporters"}


def layer(file: Path) -> str:
    folder = file.relative_to(PACKAGE).parts[0]
    return folder if folder in BELOW else {"__main__.py": "cli", "confirmation.py": "cli"}.get(folder, "core")


def imported(source: str) -> Iterator[str]:
    """Yield the modules that `source` imports, but for type checkers."""
    tree = ast.parse(source)
    for_checkers = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_checkers:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def crossings(source: str, below: set[str]) -> list[str]:
    """Return the imports of `source` that lead to one of `below`; a relative one leads nobody knows where."""
    return [
        name
        for name in imported(source)
        if name.startswith(".") or any(f"{name}.".startswith(f"{top}.") for top in below)
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_imports_run_one_way(file: Path) -> None:
    assert not crossings(file.read_text(encoding="utf-8"), BELOW[layer(file)])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_classes_of_data_are_those_that_are_cheap_to_define(file: Path) -> None:
    if layer(file) not in ("runtime", "integrations"):  # There torch is loaded, beside which they cost nothing.
        assert {"dataclasses.dataclass", "typing.NamedTuple"}.isdisjoint(imported(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "source",
    [
        "import gradlint.runtime",
        "import gradlint.runtime.hooks as h",
        "from gradlint.runtime import watch",
        "from gradlint import runtime",
        "from ..runtime import watch",
        "def f():\n    from gradlint.runtime.hooks import hook",
        "import torch.nn",
        "from torch import nn",
    ],
)
def test_a_crossing_is_seen(source: str) -> None:
    assert crossings(source, BELOW["static"])


@pytest.mark.parametrize(
    "source",
    [
        "import torchvision",
        "from gradlint import diagnostics",
        "if TYPE_CHECKING:\n    from gradlint.runtime import watch",
        "from gradlint.static.engine import Report",
    ],
)
def test_what_is_no_crossing(source: str) -> None:
    assert not crossings(source, BELOW["static"])


def loaded_by(code: str, names: set[str], cwd: Path) -> set[str]:
    """Return which of `names` are loaded once a fresh interpreter has executed `code`."""
    probe = f"import sys\ntry:\n    exec({code!r})\nexcept SystemExit:\n    pass\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=cwd, check=True)
    return names & set(done.stderr.splitlines()[-1].split())


def command(*args: str) -> str:
    return f"from gradlint.cli import main; main({list(args)!r})"


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import gradlint", HEAVY),
        ("import gradlint; gradlint.check_source", {"torch", "libcst", "gradlint.runtime"}),
        ("import gradlint; gradlint.watch", {"libcst", "click", "gradlint.static"}),
        ("import gradlint.runtime.runner", {"libcst", "click", "gradlint.static"}),
        ("import gradlint.integrations.pytest_plugin", HEAVY),
        (command("check", "train.py"), {"torch", "libcst", "gradlint.runtime"}),
        (command("--version"), {"torch", "libcst", "gradlint.static", "gradlint.runtime"}),
        (command("rule", "GL101"), {"torch", "libcst", "gradlint.static", "gradlint.runtime"}),
    ],
    ids=["import", "check_source", "watch", "run", "pytest", "check", "version", "rule"],
)
def test_stays_light(code: str, absent: set[str], tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import torch\nfor x in y:\n    x.backward()\n    o.step()\n", encoding="utf-8")
    assert loaded_by(code, absent, tmp_path) == set()


def test_a_check_loads_what_it_needs_only(tmp_path: Path) -> None:
    """Most of these are known to take a hundredth of a short run each; click may need them for itself."""
    (tmp_path / "train.py").write_text(LOOP, encoding="utf-8")
    check = command("check", "--output-format", "concise", "train.py")
    rare = {"pathlib", "ipaddress", "json", "difflib", "importlib.metadata", "pathspec", "concurrent.futures"}
    assert loaded_by(check, rare - loaded_by("import click", rare, tmp_path), tmp_path) == set()


LOOP = """\
import torch

model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.randn(8, 4, 2):
    optimizer.zero_grad()
    model(x).mean().backward()
    optimizer.step()
"""
STEPS = "    optimizer.step()\n"


@pytest.mark.parametrize(
    ("source", "found", "loaded"),
    [
        (LOOP, "Found nothing", set()),
        (LOOP.replace(STEPS, STEPS * 2), "[GL109]", set()),
        (LOOP.replace("step()", "step"), "[GL110]", set()),
        (LOOP.replace("    optimizer.zero_grad()\n", ""), "[GL101]", {"libcst"}),
    ],
    ids=["clean", "fix-by-text", "fix-by-the-check", "fix"],
)
def test_libcst_is_loaded_for_a_fix_only(source: str, found: str, loaded: set[str], tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(source, encoding="utf-8")
    probe = "import io; sys.stdout = io.StringIO()\ntry:\n    " + command("check", "train.py").replace("; ", "\n    ")
    said = f"{probe}\nfinally:\n    assert {found!r} in sys.stdout.getvalue()"
    assert loaded_by(said, {"libcst"}, tmp_path) == loaded


def test_what_shows_no_fix_builds_none(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(LOOP.replace("    optimizer.zero_grad()\n", ""), encoding="utf-8")
    assert loaded_by(command("check", "--output-format", "concise", "train.py"), {"libcst"}, tmp_path) == set()


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import torch", "torch"),
        (f"{command('--version')}", "click"),
        ("import gradlint; gradlint.check_source", "gradlint.static"),
    ],
)
def test_what_is_loaded_is_seen(code: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "torch.py").touch()  # Nobody reads the real one here: that it is loaded is all that counts.
    assert loaded_by(code, {name}, tmp_path) == {name}
