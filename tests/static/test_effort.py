"""How much is done for a fixed project, in counts: files parsed, statements lowered, worlds run. Time is measured elsewhere."""

from __future__ import annotations

import ast
import gc
import sys
from collections import Counter
from pathlib import Path
from textwrap import indent

import pytest
from speed import optimizers

from gradlint.static import check_paths, check_source
from gradlint.static.analysis import Analysis
from gradlint.static.flow.glance import Glance
from gradlint.static.flow.interpreter import Flow
from gradlint.static.lowering.files import Lowering
from gradlint.static.sources import contents
from gradlint.static.sources.shelf import Shelf

LOOP = """\
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in y:
    optimizer.zero_grad()
    model(x).sum().backward()
    optimizer.step()
"""


@pytest.fixture
def effort(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each of the costly things is done from here on."""
    counts: Counter[str] = Counter()
    for owner, name in ((ast, "parse"), (Lowering, "_statement"), (Flow, "_run"), (Glance, "_run")):
        original = getattr(owner, name)

        def counted(*given: object, original=original, name=name, **named: object) -> object:  # type: ignore[no-untyped-def]
            counts[name] += 1
            return original(*given, **named)

        monkeypatch.setattr(owner, name, counted)
    contents._shelf = Shelf(contents._ROOM, contents._MOST_TREES)  # For good: what earlier tests have read goes.
    contents.outline_of.cache_clear()
    return counts


def written(folder: Path, files: dict[str, str]) -> None:
    for name, text in {"pyproject.toml": "", **files}.items():
        (folder / name).write_text(text, encoding="utf-8")


def test_files_without_a_sign_are_not_parsed(
    tmp_path: Path, effort: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    quiet = {f"quiet_{n}.py": "import torch\n# no_grad of a Module\nx = backward_name\n" for n in range(50)}
    told = {
        "told.py": f'"""As in\n\n{LOOP}"""\nimport torch\n',
        "defined.py": "import torch\ndef zero_grad(x):\n    return x\n",
    }
    written(tmp_path, {"train.py": f"import torch\n{LOOP}", **quiet, **told})
    assert check_paths(["."]).files == 53
    assert effort["parse"] == 1


def test_imports_that_nobody_asks_for_are_not_parsed(
    tmp_path: Path, effort: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    parts = {f"part_{n}.py": f"def make_{n}():\n    return {n}\n" for n in range(50)}
    imports = "".join(f"from part_{n} import make_{n}\n" for n in range(50))
    written(tmp_path, {"train.py": f"import torch\n{imports}make_7()\n{LOOP}", **parts})
    check_paths(["train.py"])
    assert effort["parse"] == 2


STARRED = """\
import torch
from pkg import extra
from pkg import Net
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in extra.batches():
    model(x).sum().backward()
    optimizer.step()
"""


@pytest.mark.parametrize(("only_for_types", "looked_through"), [(False, 30), (True, 0)], ids=["run", "for-types"])
def test_what_a_package_takes_from_its_modules_is_parsed_once(
    tmp_path: Path, effort: Counter[str], monkeypatch: pytest.MonkeyPatch, only_for_types: bool, looked_through: int
) -> None:
    """However many files ask; where it is for type checkers, a module of the package is not looked for in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(contents, "_shelf", Shelf(1, 1))  # As if the package were larger than what there is room for.
    (tmp_path / "pkg").mkdir()
    inner, head = ("    ", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n") if only_for_types else ("", "")
    stars = "".join(f"{inner}from .part_{n} import *\n" for n in range(30))
    parts = {f"pkg/part_{n}.py": f"class Part{n}:\n    pass\n" for n in range(30)}
    own = "from .net import Net\n"
    package = {
        "pkg/__init__.py": own + head + stars,
        "pkg/net.py": "class Net:\n    pass\n",
        "pkg/extra.py": "",
        **parts,
    }
    written(tmp_path, {**package, "one.py": STARRED, "two.py": STARRED})
    assert [found.code for found in check_paths(["one.py", "two.py"]).diagnostics] == ["GL101", "GL101"]
    of_each_file = 5  # Itself, for its fix, the package, and the two modules of it that are used.
    assert effort["parse"] == 2 * of_each_file + looked_through


def test_callers_are_looked_for_only_where_a_finding_asks_for_them(
    tmp_path: Path, effort: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    step = "import torch\ndef advance(optimizer: torch.optim.Optimizer, model, loader):\n    for x in loader:\n"
    step += "        model(x).sum().backward()\n        optimizer.step()\n"
    quiet = {f"quiet_{n}.py": "import torch\nModule = seed = 0\n" for n in range(50)}
    caller = "import torch\nfrom step import advance\nModule = None\nadvance(*given)\n"
    written(tmp_path, {"step.py": step, "caller.py": caller, **quiet})
    assert [found.code for found in check_paths(["."]).diagnostics] == ["GL101"]
    assert effort["parse"] == 4  # step.py is read for its own sake, for its fix and for its caller.


NET = """\
import torch
class Net(torch.nn.Module):
    def forward(self, x):
        \"\"\"Call `loss.backward()` and `optimizer.step()` on what it returns.\"\"\"
        return x
"""


def test_file_in_which_nothing_acts_is_not_lowered(
    tmp_path: Path, effort: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, {f"net_{n}.py": NET for n in range(50)})
    assert check_paths(["."]).diagnostics == ()
    assert (effort["parse"], effort["_statement"]) == (50, 0)


def test_function_that_nobody_calls_is_not_lowered_where_nothing_acts(tmp_path: Path, effort: Counter[str]) -> None:
    """A rule by words asks what `torch.nn.Module` is; what an environment does in its steps says nothing of that."""
    run = "def run(env):\n    for action in env:\n        env.step(action)\n"
    written(tmp_path, {"net.py": f"{NET}        # no Dropout\n{run}"})
    assert check_paths([tmp_path]).diagnostics == ()
    assert (effort["parse"], effort["_statement"]) == (1, 3)  # The import, the class and the function at the top.


@pytest.mark.parametrize("call", ["", "advance(anybody(), Net(), y)\n"], ids=["no-call", "call"])
def test_file_in_which_nothing_acts_is_a_caller_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """What it calls is not excused by it, but found by way of it."""
    monkeypatch.chdir(tmp_path)
    step = "import torch\ndef advance(optimizer: torch.optim.Optimizer, model, loader):\n    for x in loader:\n"
    step += "        model(x).sum().backward()\n        optimizer.step()\n"
    layers = "class Deep(Net):\n    def __init__(self):\n        self.layers = [Net(), Net()]\n"
    imports = "from step import advance\nfrom ours import anybody\n"
    written(tmp_path, {"step.py": step, "net.py": NET + layers + imports + call})
    assert "GL101" in [found.code for found in check_paths(["."]).diagnostics]


@pytest.mark.parametrize("kind", ["_statement", "_run"])
def test_effort_grows_with_the_file(kind: str, effort: Counter[str]) -> None:
    spent = []
    for times in (20, 40):
        effort.clear()
        check_source(
            "import torch\n"
            + "".join(f"def f{n}(y):\n    " + LOOP.replace("\n", "\n    ") + "\n" for n in range(times))
        )
        spent.append(effort[kind])
    assert 0 < spent[1] <= 2.1 * spent[0]


@pytest.mark.parametrize("kind", ["_statement", "_run"])
def test_effort_grows_with_the_levels_of_loops(kind: str, effort: Counter[str]) -> None:
    spent = []
    for levels in (8, 16):
        effort.clear()
        head, body = LOOP.split("for x in y:\n")
        loops = "".join(f"{' ' * level}for x{level} in y:\n" for level in range(levels))
        check_source(f"import torch\n{head}{loops}" + body.replace("    ", " " * levels).replace("x)", "x0)"))
        spent.append(effort[kind])
    assert 0 < spent[1] <= 4 * spent[0]


def test_effort_does_not_grow_with_the_square_of_the_optimizers_in_a_loop() -> None:
    """All calls of Python are counted: each of many rules could ask each optimizer about all events."""
    calls: Counter[str] = Counter()
    spent = []
    for times in (50, 100):
        calls.clear()
        sys.setprofile(lambda _, event, __: calls.update((event,)))
        try:
            check_source(optimizers(times // 50))
        finally:
            sys.setprofile(None)
        spent.append(calls["call"])
    assert spent[1] <= 2.5 * spent[0]


@pytest.mark.parametrize("levels", [40])
def test_levels_of_helpers_are_followed_once(levels: int, effort: Counter[str]) -> None:
    helpers = "".join(f"def f{n}(m, o, x):\n    f{n + 1}(m, o, x)\n    f{n + 1}(m, o, x)\n" for n in range(levels))
    last = f"def f{levels}(m, o, x):\n    o.step()\n"
    check_source(f"import torch\n{helpers}{last}{LOOP}    f0(model, optimizer, x)\n")
    assert effort["_statement"] < 100_000


def test_a_file_that_is_done_leaves_nothing_behind() -> None:
    gc.collect()
    gc.disable()  # As in a run: what is part of a cycle would stay.
    try:
        check_source(f"import torch\ndef train(y):\n{indent(LOOP, '    ')}    steps = len(y) // 2\n")
        assert not [each for each in gc.get_objects() if isinstance(each, (Analysis, ast.stmt))]
    finally:
        gc.enable()


METER = """\
import torch
class Meter:
    def __init__(self):
        self.sum = 0
        self.count = 0
    def update(self, value):
        self.sum += value
        self.count += 1
model = torch.nn.Linear(4, 4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
meter = Meter()
for x in torch.ones(8, 4, 4):
    optimizer.zero_grad()
    model(x).sum().backward()
    optimizer.step()
"""


def test_what_leaves_nothing_but_numbers_is_read_once(effort: Counter[str]) -> None:
    def statements(calls: int) -> int:
        effort.clear()
        assert check_source(METER + "    meter.update(x.mean())\n" * calls, "meter.py") == []
        return effort["_statement"]

    turns = 2  # The first one, and all others.
    assert statements(50) - statements(20) == turns * 30
