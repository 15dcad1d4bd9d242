"""Notebooks and texts with code: what is read of them, where findings are, and what may not be said across cells."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from gradlint.cli import main
from gradlint.documents import NotReadable, read_document
from gradlint.static import check_paths

SETUP = """\
import torch
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)"""
TRAIN = """\
for x in torch.randn(8, 4, 2):
    optimizer.zero_grad()
    loss = model(x).mean()
    loss.backward()
    optimizer.step()"""
STALE = TRAIN.replace("    optimizer.zero_grad()\n", "")


def notebook(*cells: str, language: str = "python") -> str:
    """Return a notebook; a cell that begins with `#md` is Markdown, the source of every other one is a list of lines."""
    kinds = [("markdown" if cell.startswith("#md") else "code", cell) for cell in cells]
    written = [
        {"cell_type": kind, "metadata": {}, "source": cell.splitlines(keepends=True) if index % 2 else cell}
        for index, (kind, cell) in enumerate(kinds)
    ]
    return json.dumps({"cells": written, "metadata": {"kernelspec": {"language": language}}, "nbformat": 4})


def found(folder: Path, name: str, text: str, *options: str) -> list[str]:
    """Return the findings in a document, as `cell:row:column code` or `row:column code`."""
    (folder / name).write_text(text, encoding="utf-8")
    result = CliRunner().invoke(main, ["check", str(folder / name), "--output-format", "json", *options])
    return [_told(item) for item in json.loads(result.stdout)]


def _told(item: dict[str, object]) -> str:
    place = item["location"]
    assert isinstance(place, dict)
    cell = f"{item['cell']}:" if "cell" in item else ""
    return f"{cell}{place['row']}:{place['column']} {item['code']}"


NOTEBOOKS = {
    "loop in a later cell": ((SETUP, "#md Train:", STALE), ["3:4:5 GL101"]),
    "correct": ((SETUP, TRAIN), []),
    "a loss that a later cell computes anew": (
        (SETUP, "loss = model(torch.ones(4, 2)).sum()", "loss = model(torch.zeros(4, 2)).sum()\nloss.backward()"),
        [],
    ),
    "a loss that its own cell computes anew": (
        (SETUP, "loss = model(torch.ones(4, 2)).sum()\nloss = model(torch.zeros(4, 2)).sum()\nloss.backward()"),
        ["2:2:1 GL523"],
    ),
    "function in one cell, call in another": (
        (SETUP, "def train():\n" + textwrap.indent(STALE, "    "), "train()"),
        ["2:5:9 GL101"],
    ),
    "arguments of a command that are no Python, in several rows": (
        ("!python train.py \\\n    --model Qwen2.5-0.5B \\\n    --rate 1e-3\n" + SETUP, STALE),
        ["2:4:5 GL101"],
    ),
    "continued Python that is none": (("total = 1 + \\\n    0.5B", SETUP, STALE), ["1:2:7 GL000", "3:4:5 GL101"]),
    "line magics and shell": (
        ("%matplotlib inline\n!pip install -q \\\n    torch\n" + SETUP, "model?\n??optimizer\nfiles = !ls\n" + STALE),
        ["2:7:5 GL101"],
    ),
    "magic in a block": ((SETUP, "if True:\n    !nvidia-smi\n" + STALE), ["2:6:5 GL101"]),
    "what a magic times is run": (
        (SETUP, "def train():\n" + textwrap.indent(STALE, "    "), "%time train()"),
        ["2:5:9 GL101"],
    ),
    "a percent sign is no magic": ((SETUP, "print('%d'\n      % 3)\n" + STALE), ["2:6:5 GL101"]),
    "timed cell": ((SETUP, "%%time\n" + STALE), ["2:5:5 GL101"]),
    "cell of another language": ((SETUP, "%%bash\nfor x in 1 2; do\n  echo $x\ndone", STALE), ["3:4:5 GL101"]),
    "cell that is written to a file": ((SETUP, "%%writefile train.py\n" + STALE), []),
    "unknown cell magic": ((SETUP, "%%sparkle\nselect * from runs", STALE), ["3:4:5 GL101"]),
    "broken cell": ((SETUP, "x = = 1", STALE), ["2:1:5 GL000", "3:4:5 GL101"]),
    "broken cells, told of at the first": ((SETUP, "x = = 1", STALE, "y = ???"), ["2:1:5 GL000", "3:4:5 GL101"]),
    "search for names": ((SETUP, "torch.*Tensor?", "*.Conv*??"), []),
    "indented cell": ((SETUP, textwrap.indent(STALE, "  ")), ["2:4:7 GL101"]),
    "indented cell with an error": ((SETUP, "  x = 1\n  y = = 2"), ["2:2:7 GL000"]),
    "command without its percent sign": ((SETUP, "ls checkpoints/", STALE), ["3:4:5 GL101"]),
    "command among code needs its percent sign": ((SETUP, "x = 1\nls checkpoints/"), ["2:2:4 GL000"]),
    "name of a command": ((SETUP, "ls = 1", STALE), ["3:4:5 GL101"]),
    "awaiting": ((SETUP, "await model", STALE), ["3:4:5 GL101"]),
    "suppressed in its cell": (
        (SETUP, STALE + "  # gradlint: ignore[GL101] on purpose", "print(1)  # gradlint: ignore[GL101]"),
        ["3:1:11 GL001"],
    ),
    "empty cells": ((SETUP, "", "\n\n", STALE), ["4:4:5 GL101"]),
}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook(tmp_path: Path, name: str) -> None:
    cells, expected = NOTEBOOKS[name]
    assert found(tmp_path, "train.ipynb", notebook(*cells)) == expected


ACROSS = {
    "graph of another cell": (SETUP, "loss = model(torch.ones(1, 2)).mean()\nloss.backward()", "loss.backward()"),
    "evaluation before more training": (
        SETUP,
        "model.train()\n" + TRAIN,
        "model.eval()",
        TRAIN,
    ),
    "step by step": (SETUP, "model(torch.ones(1, 2)).mean().backward()", "optimizer.zero_grad()", "optimizer.step()"),
    "schedule shown, then trained": (
        SETUP + "\nscheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)",
        "rates = []\nfor _ in range(9):\n    optimizer.step()\n    scheduler.step()\n    rates.append(scheduler.get_last_lr())",
        TRAIN.replace("    optimizer.step()", "    scheduler.step()\n    optimizer.step()"),
    ),
}


DROPPING = SETUP.replace("torch.nn.Linear(2, 1)", "torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Dropout())")
TESTED = "with torch.no_grad():\n    for x in test_loader:\n        print(model(x))"


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ((DROPPING, "model.train()\n" + TRAIN, TESTED), ["3:2:14 GL303"]),
        ((DROPPING, "model.train()\n" + TRAIN, "model.eval()", TESTED), []),
        ((DROPPING, TRAIN, TESTED, "model.eval()\n" + TESTED), []),
        ((DROPPING, TESTED, TRAIN), []),
        ((SETUP, TRAIN, TESTED), []),
        ((DROPPING, TRAIN, "prepare(model)", TESTED), []),
    ],
    ids=["never", "before", "elsewhere", "before-training", "without-a-mode", "by-somebody"],
)
def test_no_cell_evaluates(tmp_path: Path, cells: tuple[str, ...], expected: list[str]) -> None:
    assert found(tmp_path, "train.ipynb", notebook(*cells)) == expected


@pytest.mark.parametrize("name", ACROSS)
def test_order_of_cells_is_no_order(tmp_path: Path, name: str) -> None:
    assert [item for item in found(tmp_path, "train.ipynb", notebook(*ACROSS[name])) if "GL104" not in item] == []


def test_same_order_in_one_cell_is_one(tmp_path: Path) -> None:
    cell = "\n".join(ACROSS["graph of another cell"])
    assert found(tmp_path, "train.ipynb", notebook(cell)) == ["1:6:1 GL503"]


def test_schedule_that_begins_in_an_earlier_cell_is_judged_where_it_first_steps(tmp_path: Path) -> None:
    setup = SETUP + "\nscheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)"
    train = TRAIN.replace("    optimizer.step()", "    scheduler.step()\n    optimizer.step()")
    assert found(tmp_path, "train.ipynb", notebook(setup, train)) == ["2:5:5 GL201"]


def test_frame_shows_the_lines_of_the_cell(tmp_path: Path) -> None:
    (tmp_path / "train.ipynb").write_text(notebook(SETUP, STALE), encoding="utf-8")
    shown = CliRunner().invoke(main, [str(tmp_path / "train.ipynb")]).stdout
    assert "train.ipynb:cell 2:4:5\n" in shown
    assert "4 |     optimizer.step()\n" in shown


def test_concise_names_the_cell_as_ruff_does(tmp_path: Path) -> None:
    (tmp_path / "train.ipynb").write_text(notebook(SETUP, STALE), encoding="utf-8")
    shown = CliRunner().invoke(main, [str(tmp_path / "train.ipynb"), "--output-format", "concise"]).stdout
    assert "train.ipynb:cell 2:4:5: GL101 " in shown


FIT = """\
def fit(model, optimizer, scheduler, loader):
    for epoch in range(10):
        for x in loader:
            optimizer.zero_grad()
            model(x).mean().backward()
            optimizer.step()
        scheduler.step()
"""
SCHEDULED = """
loader = torch.utils.data.DataLoader(data, batch_size=4)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=len(loader))"""


def test_finding_in_a_module_points_into_the_cell(tmp_path: Path) -> None:
    (tmp_path / "fitting.py").write_text(FIT, encoding="utf-8")
    cells = ("#md Train:", SETUP, SCHEDULED, "from fitting import fit\nfit(model, optimizer, scheduler, loader)")
    (tmp_path / "train.ipynb").write_text(notebook(*cells), encoding="utf-8")
    shown = CliRunner().invoke(main, [str(tmp_path)]).stdout
    assert "fitting.py:7:9\n" in shown
    assert "train.ipynb:cell 3:3:13\n" in shown


def test_notebook_on_stdin() -> None:
    shown = CliRunner().invoke(main, ["-", "--stdin-filename", "a.ipynb"], input=notebook(SETUP, STALE)).stdout
    assert "--> a.ipynb:cell 2:4:5\n" in shown
    assert "4 |     optimizer.step()\n" in shown


def test_fix_leaves_notebooks_alone(tmp_path: Path) -> None:
    text = notebook(SETUP, STALE)
    assert found(tmp_path, "train.ipynb", text, "--fix", "--unsafe-fixes") == ["2:4:5 GL101"]
    assert (tmp_path / "train.ipynb").read_text(encoding="utf-8") == text


def test_notebook_of_another_language_is_silent(tmp_path: Path) -> None:
    assert found(tmp_path, "a.ipynb", notebook("x = = 1", language="julia")) == []


def test_old_notebook_with_worksheets(tmp_path: Path) -> None:
    cells = [{"cell_type": "code", "input": source.splitlines(keepends=True)} for source in (SETUP, STALE)]
    text = json.dumps({"metadata": {}, "worksheets": [{"cells": cells}], "nbformat": 3})
    assert found(tmp_path, "train.ipynb", text) == ["2:4:5 GL101"]


def test_below_a_folder_notebooks_are_found_and_texts_are_not(tmp_path: Path) -> None:
    (tmp_path / "train.ipynb").write_text(notebook(SETUP, STALE), encoding="utf-8")
    (tmp_path / "train.md").write_text(f"```python\n{SETUP}\n{STALE}\n```\n", encoding="utf-8")
    shown = CliRunner().invoke(main, [str(tmp_path), "--output-format", "concise"]).stdout
    assert shown.endswith("Found 1 error in 1 file.\n")


def test_setting_includes_texts(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.gradlint]\nextend-include = ["docs/*.md"]\n', encoding="utf-8")
    (tmp_path / "docs").mkdir()
    for name in ("docs/train.md", "other.md"):
        (tmp_path / name).write_text(f"```python\n{SETUP}\n{STALE}\n```\n", encoding="utf-8")
    shown = CliRunner().invoke(main, [str(tmp_path), "--output-format", "concise"]).stdout
    assert "docs/train.md:8:5: GL101" in shown
    assert shown.endswith("Found 1 error in 1 file.\n")


def fenced(*blocks: str, info: str = "python") -> str:
    return "\nSome words.\n\n".join(f"```{info}\n{block}\n```" for block in blocks) + "\n"


MARKDOWN = {
    "blocks build on each other": (fenced(SETUP, STALE), ["12:5 GL101"]),
    "no language": (fenced(SETUP, STALE, info=""), ["12:5 GL101"]),
    "attributes": (fenced(SETUP, STALE, info="{.python .input}"), ["12:5 GL101"]),
    "directive": (fenced(SETUP, STALE, info="{code-cell} ipython3"), ["12:5 GL101"]),
    "another language": (fenced(SETUP, STALE, info="r"), []),
    "in a list": (textwrap.indent(fenced(SETUP, STALE), "   "), ["12:8 GL101"]),
    "transcript": (fenced(SETUP, ">>> " + STALE.replace("\n", "\n... ") + "\nNone"), ["12:9 GL101"]),
    "fragment": (fenced(SETUP, "for x in loader:", "{'lr': ...", STALE), ["22:5 GL101"]),
    "left out": (fenced(SETUP, STALE.replace("    loss.", "    ...\n    loss.")), []),
    "tildes around backticks": (f"~~~\n```python\n{SETUP}\n{STALE}\n```\n~~~\n", []),
    "bad and good": (fenced(f"{SETUP}\n{STALE}", f"{SETUP}\n{TRAIN}"), ["8:5 GL101"]),
    "no end": (f"```python\n{SETUP}\n{STALE}\n", []),
}


@pytest.mark.parametrize("name", MARKDOWN)
def test_markdown(tmp_path: Path, name: str) -> None:
    text, expected = MARKDOWN[name]
    assert found(tmp_path, "train.md", text) == expected


def test_restructured_text(tmp_path: Path) -> None:
    block = textwrap.indent(f"{SETUP}\n{STALE}", "   ")
    text = f"Title\n=====\n\n.. code-block:: python\n   :linenos:\n\n{block}\n\nMore.\n\n.. code:: console\n\n   $ ls\n"
    assert found(tmp_path, "train.rst", text) == ["13:8 GL101"]


def test_events_of_a_notebook_are_named_by_cell(tmp_path: Path) -> None:
    (tmp_path / "train.ipynb").write_text(notebook(SETUP, TRAIN, TRAIN), encoding="utf-8")
    shown = CliRunner().invoke(main, ["events", str(tmp_path / "train.ipynb")]).stdout
    assert "2:5      optimizer.step()" in shown
    assert "a new cell begins -> optimizer: unknown" in shown


@given(st.text() | st.builds(json.dumps, st.recursive(st.none() | st.text() | st.integers(), st.lists)))
def test_any_text_is_a_notebook_or_none(text: str) -> None:
    try:
        document = read_document(text, "a.ipynb")
    except NotReadable:
        return
    assert len(document.starts) == len(document.cells)


@given(st.lists(st.text(alphabet="%!?=x \n:.>`\\") | st.just(STALE), max_size=4))
def test_rows_of_a_notebook_are_kept(cells: list[str]) -> None:
    document = read_document(notebook(*cells), "a.ipynb")
    lines = document.text.split("\n")
    kept = [cell.replace("\r\n", "\n").replace("\r", "\n").split("\n") for cell in cells]
    for start, number in zip(document.starts, document.cells, strict=True):
        for row, line in enumerate(kept[number - 1]):
            assert lines[start - 1 + row] == line or line.strip()


@given(st.text(alphabet="` \npython>.:~x"))
def test_text_keeps_its_rows(text: str) -> None:
    for name in ("a.md", "a.rst"):
        assert read_document(text, name).text.count("\n") == text.count("\n")


def test_last_expression_of_a_cell_is_shown_and_not_thrown_away(tmp_path: Path) -> None:
    made, paths = (
        "import torch\nw = torch.randn(3, requires_grad=True)",
        [tmp_path / "shown.ipynb", tmp_path / "lost.ipynb"],
    )
    paths[0].write_text(notebook(made, "w.detach()", "print(w)"), encoding="utf-8")
    paths[1].write_text(notebook(made, "w.detach()\nprint(w)"), encoding="utf-8")
    found = check_paths([str(path) for path in paths]).diagnostics
    assert [(Path(each.location.filename).name, each.code) for each in found] == [("lost.ipynb", "GL522")]
