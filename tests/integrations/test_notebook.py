"""The magics, in a shell of IPython in this process."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import gradlint

pytest.importorskip("IPython")
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

MODEL = """\
import torch
from torch.nn import functional as F
x, y = torch.randn(8, 2), torch.randn(8, 1)
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
"""
RIGHT = """\
for _ in range(4):
    optimizer.zero_grad()
    F.mse_loss(model(x), y).backward()
    optimizer.step()
"""
WRONG = RIGHT.replace("    optimizer.zero_grad()\n", "")

Run = Callable[[str], str]


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    config = Config()
    config.HistoryManager.enabled = False
    made = InteractiveShell(config=config)
    made.run_line_magic("load_ext", "gradlint")
    made.run_cell(MODEL, store_history=True)
    yield made
    made.run_line_magic("unload_ext", "gradlint")


@pytest.fixture
def run(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a cell; return what is shown."""

    def cell(source: str) -> str:
        capsys.readouterr()
        shell.run_cell(source, store_history=True)
        return re.sub(r"\x1b\[[\d;]*m", "", "".join(capsys.readouterr()))

    return cell


def codes(shown: str) -> list[str]:
    return re.findall(r"^\w+\[(GL\d+)\]", shown, re.MULTILINE)


@pytest.mark.parametrize(("cell", "found"), [(RIGHT, []), (WRONG, ["GL101"])], ids=["right", "wrong"])
def test_a_cell_is_watched(cell: str, found: list[str], run: Run) -> None:
    shown = run(f"%%gradlint\n{cell}print('done')\n'value'")
    assert codes(shown) == found
    assert shown.startswith("done\n")
    assert "'value'" in shown
    assert ("Found nothing" in shown) is not bool(found)


def test_rows_and_names_are_those_of_the_cell(run: Run) -> None:
    shown = run(f"%%gradlint\n{WRONG}")
    assert "--> Cell In[2]:4:5\n" in shown
    assert "4 |     optimizer.step()" in shown
    assert "3 |     F.mse_loss(model(x), y).backward()" in shown


def test_a_function_of_another_cell_has_the_name_of_that_cell(run: Run) -> None:
    assert not run("def train():\n" + "".join(f"    {line}\n" for line in WRONG.splitlines()))
    assert "--> Cell In[2]:4:9\n" in run("%%gradlint\ntrain()")


def test_all_cells_are_watched_until_it_is_off(run: Run) -> None:
    assert not codes(run(WRONG))
    run("%gradlint on")
    assert run(RIGHT) == ""
    assert codes(run(WRONG)) == ["GL101"]
    assert codes(run(f"%%gradlint\n{WRONG}")) == ["GL101"]
    run("%gradlint off")
    assert run(WRONG) == ""


def test_an_error_is_explained_below_its_traceback(run: Run) -> None:
    shown = run("%%gradlint\nloss = model(x).sum()\nloss.backward()\nloss.backward()")
    assert codes(shown) == ["GL503"]
    assert shown.index("RuntimeError") < shown.index("GL503")


@pytest.mark.parametrize("watched", ["%%gradlint\n", ""], ids=["cell", "on"])
def test_an_error_that_left_the_cell_is_explained(watched: str, run: Run) -> None:
    run("" if watched else "%gradlint on")
    shown = run(f"{watched}found = model.parameters()\nlist(found)\ntorch.optim.SGD(found)")
    assert codes(shown) == ["GL609"]


def test_what_a_captured_cell_does_is_shown(run: Run) -> None:
    run("%gradlint on")
    shown = run(f"%%capture\n{WRONG}print('done')")
    assert codes(shown) == ["GL101"]
    assert "done\n" not in shown.replace("print('done')\n", "")


@pytest.mark.parametrize("line", ["%gradlint", "%gradlint please", "%%gradlint on\nx"])
def test_what_is_no_use_of_it(line: str, run: Run) -> None:
    assert "UsageError" in run(line)


def test_another_magic_may_follow(run: Run) -> None:
    shown = run(f"%%gradlint\n%%time\n{WRONG}")
    assert "Wall time" in shown
    assert codes(shown) == ["GL101"]


@pytest.mark.parametrize("end", ["%gradlint off", "%unload_ext gradlint"])
def test_torch_is_as_it_was(end: str, run: Run) -> None:
    import torch

    before: Any = torch.optim.Optimizer.zero_grad
    run(f"%%gradlint\n{WRONG}")
    run("%gradlint on")
    run(WRONG)
    run("1 / 0")
    run(end)
    assert torch.optim.Optimizer.zero_grad is before
    with gradlint.watch(output=None) as report:
        run(RIGHT)
    assert not report.diagnostics
