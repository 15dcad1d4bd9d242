"""Fixes: each is of the kind that its page says, mends its finding and nothing else, and keeps what is not its business."""

from __future__ import annotations

import ast
import json
import os
import re
import stat
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import CASES, PRELUDE, ROOT, RULES, Block, found_runtime, read_blocks

import gradlint
from gradlint.cli import main
from gradlint.config import Settings
from gradlint.diagnostics import Edit, Fix, Location, Side
from gradlint.rulebook import Rule, rules
from gradlint.static.fixes.mending import edited, mend, mend_bytes, sound

HEAD = PRELUDE + "\n"
STATIC = [rule for rule in rules().values() if Side.STATIC in rule.sides]
DEFAULT = Settings(preview=True)


def mended(source: str, head: str = HEAD) -> str:
    """Return `source` behind the prelude after all sound fixes, the unsafe ones included."""
    text = mend(head + source, "train.py", DEFAULT, unsafe=True).text
    needed = "import copy\n" if "import copy\n" in text.removesuffix(source) and "import copy\n" not in source else ""
    text = text.replace(needed, "", 1)
    assert text.startswith(head)
    return (f"{needed}\n" if needed else "") + text.removeprefix(head)


def kind(fix: Fix | None) -> str:
    return "none" if fix is None else "safe" if fix.safe else "unsafe"


# Pages --------------------------------------------------------------------------------------------

FIXED = read_blocks(ROOT / "tests" / "fixed_examples.md")
PAGES: dict[str, list[str]] = {}
for block in FIXED:
    PAGES.setdefault(block.heading, []).append(block.source)


def bad_examples(rule: Rule) -> list[Block]:
    blocks = read_blocks(RULES / f"{rule.code}-{rule.name}.md")
    return [block for block in blocks if any(seen.code == rule.code for seen in block.expected(Side.STATIC))]


@pytest.mark.parametrize("rule", STATIC, ids=lambda rule: rule.code)
def test_bad_examples_carry_the_fix_that_the_page_names(rule: Rule) -> None:
    found = [
        {
            kind(item.fix)
            for item in gradlint.check_source(HEAD + block.source, settings=DEFAULT)
            if item.code == rule.code
        }
        for block in bad_examples(rule)
        if block.heading == "Example"
    ]
    assert all(kinds <= {rule.fix, "none"} for kinds in found)
    assert rule.fix in set().union(*found)


@pytest.mark.parametrize("rule", [rule for rule in STATIC if rule.fix != "none"], ids=lambda rule: rule.code)
def test_fixed_example_is_as_checked_by_hand(rule: Rule) -> None:
    blocks = [block for block in bad_examples(rule) if block.heading == "Example"]
    assert [mended(block.source) for block in blocks] == PAGES[rule.code]
    left = [item.code for block in blocks for item in gradlint.check_source(HEAD + mended(block.source))]
    assert set(left) <= {rule.code}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("block", [block for block in FIXED if block.runs], ids=lambda block: block.heading)
def test_a_run_of_a_fixed_example_finds_nothing(block: Block) -> None:
    pytest.importorskip("torch")
    left = {item.code for item in gradlint.check_source(HEAD + block.source, settings=DEFAULT)}
    assert {seen.code for seen in found_runtime(block if left else replace(block, assertions=()))} <= left


@pytest.mark.parametrize("rule", [rule for rule in STATIC if rule.fix == "unsafe"], ids=lambda rule: rule.code)
def test_unsafe_fixes_are_left_out_unless_asked_for(rule: Rule) -> None:
    for block in bad_examples(rule):
        result = mend(HEAD + block.source, "train.py", DEFAULT)
        assert (result.text, result.fixed) == (HEAD + block.source, 0)


# Layout -------------------------------------------------------------------------------------------

LAYOUT = {
    "tabs": (
        "for x, y in loader:\n\tloss = criterion(model(x), y)\n\tloss.backward()\n\toptimizer.step()\n",
        "for x, y in loader:\n\toptimizer.zero_grad()\n\tloss = criterion(model(x), y)\n\tloss.backward()\n\toptimizer.step()\n",
    ),
    "one-line-suite": (
        "for x, y in loader: criterion(model(x), y).backward(); optimizer.step()  # quick\n",
        "for x, y in loader: optimizer.zero_grad(); criterion(model(x), y).backward(); optimizer.step()  # quick\n",
    ),
    "one-line-suite-reordered": (
        "for x, y in loader: criterion(model(x), y).backward(); optimizer.zero_grad(); optimizer.step()\n",
        "for x, y in loader: optimizer.zero_grad(); criterion(model(x), y).backward(); optimizer.step()\n",
    ),
    "one-line-closure": (
        (
            "solver = optim.LBFGS(model.parameters())\n"
            "def closure(): solver.zero_grad(); loss = criterion(model(X), Y); loss.backward()\n"
            "solver.step(closure)\n"
        ),
        (
            "solver = optim.LBFGS(model.parameters())\n"
            "def closure(): solver.zero_grad(); loss = criterion(model(X), Y); loss.backward(); return loss\n"
            "solver.step(closure)\n"
        ),
    ),
    "one-line-init": (
        "class Net(nn.Module):\n    def __init__(self): self.layer = nn.Linear(4, 1)\n",
        "class Net(nn.Module):\n    def __init__(self): super().__init__(); self.layer = nn.Linear(4, 1)\n",
    ),
    "shared-line": (
        "for x, y in loader:\n    criterion(model(x), y).backward(); optimizer.zero_grad()  # both\n    optimizer.step()\n",
        "for x, y in loader:\n    optimizer.zero_grad()\n    criterion(model(x), y).backward()  # both\n    optimizer.step()\n",
    ),
    "comments-go-with-what-they-are-about": (
        """\
for epoch in range(2):
    # a new epoch

    # start from zero
    optimizer.zero_grad()  # once
    # all batches
    for x, y in loader:
        # forward
        loss = criterion(model(x), y)

        loss.backward()  # backward
        optimizer.step()
        # done
""",
        """\
for epoch in range(2):
    # a new epoch

    # all batches
    for x, y in loader:
        # start from zero
        optimizer.zero_grad()  # once
        # forward
        loss = criterion(model(x), y)

        loss.backward()  # backward
        optimizer.step()
        # done
""",
    ),
    "late-super-with-docstring": (
        '''\
class Net(nn.Module):
    """A net."""

    def __init__(self, width: int = 8):
        """Make the layers."""

        self.layer = nn.Linear(4, width)  # the only one

        # torch's part
        super(Net, self).__init__()  # late


net = Net
''',
        '''\
class Net(nn.Module):
    """A net."""

    def __init__(self, width: int = 8):
        """Make the layers."""
        # torch's part
        super(Net, self).__init__()  # late

        self.layer = nn.Linear(4, width)  # the only one


net = Net
''',
    ),
    "closure-with-docstring-and-decorator": (
        '''\
solver = optim.LBFGS(model.parameters())


@torch.enable_grad()
def closure():
    """One evaluation."""
    loss = criterion(model(X), Y)
    loss.backward()
    return loss


solver.step(closure)
''',
        '''\
solver = optim.LBFGS(model.parameters())


@torch.enable_grad()
def closure():
    """One evaluation."""
    solver.zero_grad()
    loss = criterion(model(X), Y)
    loss.backward()
    return loss


solver.step(closure)
''',
    ),
    "indented-rest": (
        """\
def validate(net):
\tnet.eval()
\t# no graphs
\ttorch.no_grad()  # off

\ttotal = 0.0
\tfor x, y in val_loader:
\t\ttotal += criterion(
\t\t\tnet(x),  # forward
\t\t\ty,
\t\t).item()
\ttext = '''
as it
  is'''
\treturn total, text
""",
        """\
def validate(net):
\tnet.eval()
\t# no graphs
\twith torch.no_grad():  # off

\t\ttotal = 0.0
\t\tfor x, y in val_loader:
\t\t\ttotal += criterion(
\t\t\t\tnet(x),  # forward
\t\t\t\ty,
\t\t\t).item()
\t\ttext = '''
as it
  is'''
\t\treturn total, text
""",
    ),
    "spelled-as-it-is": (
        (
            'opts = {"g": optim.SGD(model.parameters(), lr=0.1)}\n'
            'for x, y in loader:\n    criterion(model(x), y).backward()\n    opts["g"].step()\n'
        ),
        (
            'opts = {"g": optim.SGD(model.parameters(), lr=0.1)}\n'
            'for x, y in loader:\n    opts["g"].zero_grad()\n    criterion(model(x), y).backward()\n    opts["g"].step()\n'
        ),
    ),
    "beside-other-characters": (
        "for x, y in loader:\n    'é𝄞'; criterion(model(x), y).backward(); optimizer.zero_grad(); optimizer.step()\n",
        "for x, y in loader:\n    'é𝄞'; optimizer.zero_grad(); criterion(model(x), y).backward(); optimizer.step()\n",
    ),
    "scaler": (
        """\
scaler = torch.amp.GradScaler("cpu")
for x, y in loader:
    with torch.autocast("cpu"):
        loss = criterion(model(x), y)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
""",
        """\
scaler = torch.amp.GradScaler("cpu")
for x, y in loader:
    optimizer.zero_grad()
    with torch.autocast("cpu"):
        loss = criterion(model(x), y)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
""",
    ),
    "two-at-once": (
        """\
one, two = nn.Linear(4, 4), nn.Linear(4, 1)
first, second = optim.SGD(one.parameters(), lr=0.1), optim.SGD(two.parameters(), lr=0.1)
for x, y in loader:
    criterion(two(one(x)), y).backward()
    first.step()
    second.step()
""",
        """\
one, two = nn.Linear(4, 4), nn.Linear(4, 1)
first, second = optim.SGD(one.parameters(), lr=0.1), optim.SGD(two.parameters(), lr=0.1)
for x, y in loader:
    first.zero_grad()
    second.zero_grad()
    criterion(two(one(x)), y).backward()
    first.step()
    second.step()
""",
    ),
    "in-the-order-of-the-findings": (
        """\
one, two = nn.Linear(4, 4), nn.Linear(4, 1)
first, second = optim.SGD(one.parameters(), lr=0.1), optim.SGD(two.parameters(), lr=0.1)
for epoch in range(2):
    first.zero_grad()
    second.zero_grad()
    for x, y in loader:
        criterion(two(one(x)), y).backward()
        first.step()
        second.step()
""",
        """\
one, two = nn.Linear(4, 4), nn.Linear(4, 1)
first, second = optim.SGD(one.parameters(), lr=0.1), optim.SGD(two.parameters(), lr=0.1)
for epoch in range(2):
    for x, y in loader:
        first.zero_grad()
        second.zero_grad()
        criterion(two(one(x)), y).backward()
        first.step()
        second.step()
""",
    ),
    "micro-batches": (
        "for x, y in loader:\n    for part in x:\n        model(part).mean().backward()\n    optimizer.step()\n",
        (
            "for x, y in loader:\n    optimizer.zero_grad()\n"
            "    for part in x:\n        model(part).mean().backward()\n    optimizer.step()\n"
        ),
    ),
    "parenthesized": (
        (
            "solver = optim.LBFGS(model.parameters())\n"
            "def closure():\n    solver.zero_grad()\n    loss = criterion(model(X), Y)\n    loss.backward()\n    return loss\n"
            "solver.step((closure)())\n"
        ),
        (
            "solver = optim.LBFGS(model.parameters())\n"
            "def closure():\n    solver.zero_grad()\n    loss = criterion(model(X), Y)\n    loss.backward()\n    return loss\n"
            "solver.step(closure)\n"
        ),
    ),
    "no-newline-at-the-end": (
        (
            "solver = optim.LBFGS(model.parameters())\nfor _ in X:\n    def closure():\n        solver.zero_grad()\n"
            "        loss = criterion(model(X), Y)\n        loss.backward()\n    solver.step(closure)"
        ),
        (
            "solver = optim.LBFGS(model.parameters())\nfor _ in X:\n    def closure():\n        solver.zero_grad()\n"
            "        loss = criterion(model(X), Y)\n        loss.backward()\n        return loss\n    solver.step(closure)"
        ),
    ),
    "seeder-imported-from-its-module": (
        "from numpy import random\nfrom torch import cuda\nrandom.seed = 0\ncuda.manual_seed = 1\n",
        "from numpy import random\nfrom torch import cuda\nrandom.seed(0)\ncuda.manual_seed(1)\n",
    ),
}


@pytest.mark.parametrize(("before", "after"), LAYOUT.values(), ids=LAYOUT)
def test_layout(before: str, after: str) -> None:
    assert mended(before) == after


# Doubt --------------------------------------------------------------------------------------------

CLOSURE = "solver = optim.LBFGS(model.parameters())\ndef closure():\n    solver.zero_grad()\n{}\nsolver.step(closure)\n"
EVALUATION = "def validate():\n    model.eval()\n    torch.no_grad()\n{}\n"
DOUBT = {
    "the-loop-is-elsewhere": (
        "GL101",
        "def update(loss):\n    loss.backward()\n    optimizer.step()\nfor x, y in loader:\n    update(criterion(model(x), y))\n",
    ),
    "a-window-of-batches": (
        "GL101",
        (
            "for i, (x, y) in enumerate(loader):\n    criterion(model(x), y).backward()\n"
            "    if i % 2:\n        optimizer.step()\n"
        ),
    ),
    "an-accumulation-context": (
        "GL101",
        (
            "from accelerate import Accelerator\naccelerator = Accelerator(gradient_accumulation_steps=2)\n"
            "model, optimizer = accelerator.prepare(model, optimizer)\nfor x, y in loader:\n"
            "    with accelerator.accumulate(model):\n"
            "        accelerator.backward(criterion(model(x), y))\n        optimizer.step()\n"
        ),
    ),
    "another-pass-is-between": (
        "GL103",
        (
            "for x, y in loader:\n    a, b = criterion(model(x), y), criterion(model(y * x), y)\n    a.backward()\n"
            "    b.backward()\n    optimizer.zero_grad()\n    optimizer.step()\n"
        ),
    ),
    "a-comprehension-in-a-loop": (
        "GL102",
        (
            "for epoch in range(2):\n    optimizer.zero_grad()\n"
            "    [(criterion(model(x), y).backward(), optimizer.step()) for x, y in loader]\n"
        ),
    ),
    "optimizer-bound-in-the-loop": (
        "GL101",
        "for x, y in loader:\n    mine = optimizer\n    criterion(model(x), y).backward()\n    mine.step()\n",
    ),
    "clearing-depends-on-the-loop": (
        "GL102",
        (
            "for epoch in range(2):\n    mine = optimizer\n    mine.zero_grad()\n    for x, y in loader:\n"
            "        mine = optimizer\n        criterion(model(x), y).backward()\n        optimizer.step()\n"
        ),
    ),
    "clearing-depends-on-what-is-between": (
        "GL103",
        (
            "for x, y in loader:\n    criterion(model(x), y).backward()\n    mine = optimizer\n"
            "    mine.zero_grad()\n    mine.step()\n"
        ),
    ),
    "comments-have-no-place-in-a-one-line-suite": (
        "GL102",
        (
            "for epoch in range(2):\n    optimizer.zero_grad()  # clear\n"
            "    for x, y in loader: criterion(model(x), y).backward(); optimizer.step()\n"
        ),
    ),
    "bound-method": (
        "GL101",
        "go = optimizer.step\nfor x, y in loader:\n    criterion(model(x), y).backward()\n    go()\n",
    ),
    "closure-in-another-scope": (
        "GL402",
        (
            "def closure():\n    loss = criterion(model(X), Y)\n    loss.backward()\n    return loss\n"
            "def main():\n    solver = optim.LBFGS(model.parameters())\n    solver.step(closure)\nmain()\n"
        ),
    ),
    "loss-has-no-name": ("GL404", CLOSURE.format("    criterion(model(X), Y).backward()")),
    "loss-is-rebound": (
        "GL404",
        CLOSURE.format("    loss = criterion(model(X), Y)\n    loss.backward()\n    loss = None"),
    ),
    "loss-is-no-number": (
        "GL404",
        CLOSURE.format("    loss = model(X)\n    loss.backward(gradient=torch.ones(8, 1))"),
    ),
    "backward-may-not-run": (
        "GL404",
        CLOSURE.format("    for part in X:\n        loss = model(part).mean()\n        loss.backward()"),
    ),
    "two-losses": (
        "GL404",
        CLOSURE.format("    a = model(X).mean()\n    b = model(X).sum()\n    a.backward()\n    b.backward()"),
    ),
    "returns-nothing": (
        "GL404",
        CLOSURE.format("    loss = criterion(model(X), Y)\n    loss.backward()\n    return"),
    ),
    "inherited-init-unknown": (
        "GL804",
        (
            "class Base(nn.Module):\n    def __init__(self, width):\n        super().__init__()\n"
            "class Net(Base):\n    def __init__(self):\n        self.layer = nn.Linear(4, 1)\n"
        ),
    ),
    "super-needs-what-is-made-before": (
        "GL804",
        (
            "class Base(nn.Module):\n    def __init__(self, width):\n        super().__init__()\n"
            "class Net(Base):\n    def __init__(self):\n        width = 4\n        self.layer = nn.Linear(4, width)\n"
            "        super().__init__(width)\n"
        ),
    ),
    "the-rest-trains": (
        "GL307",
        EVALUATION.format("    for x, y in val_loader:\n        model(x)\n    model.train()"),
    ),
    "the-rest-calls-what-trains": (
        "GL307",
        "def learn():\n    for x, y in loader:\n        optimizer.zero_grad()\n        criterion(model(x), y).backward()\n"
        "        optimizer.step()\ndef both():\n    learn()\n" + EVALUATION.format("    model(X)\n    both()"),
    ),
    "made-under-it-and-used-outside": (
        "GL307",
        "def f(quiet):\n    if quiet:\n        torch.no_grad()\n        out = model(X)\n    return out\n",
    ),
    "kept-in-an-attribute": ("GL307", EVALUATION.format("    model.out = model(X)")),
    "nothing-follows": ("GL307", "def validate():\n    model(X)\n    torch.no_grad()\n"),
    "it-shares-its-line": ("GL307", "def validate():\n    torch.no_grad(); return model(X)\n"),
    "a-call-needs-arguments": (
        "GL110",
        (
            "scaler = torch.amp.GradScaler('cpu')\nfor x, y in loader:\n    optimizer.zero_grad()\n"
            "    scaler.scale(criterion(model(x), y)).backward()\n    scaler.step\n    scaler.update()\n"
        ),
    ),
    "a-method-needs-arguments": (
        "GL803",
        (
            "class Net(nn.Module):\n    def groups(self, lr):\n        return self.parameters()\n"
            "net = Net()\nsgd = optim.SGD(net.groups, lr=0.1)\n"
        ),
    ),
}


@pytest.mark.parametrize(("code", "source"), DOUBT.values(), ids=DOUBT)
def test_in_doubt_there_is_no_fix(code: str, source: str) -> None:
    found = gradlint.check_source(HEAD + source)
    assert code in {item.code for item in found}
    assert [item.fix for item in found if item.code == code] == [None]


UNSOUND = {
    "it-uncovers-another-mistake": (
        "solver = optim.LBFGS(model.parameters())\n"
        "def closure():\n    loss = criterion(model(X), Y)\n    loss.backward()\n    return loss\n"
        "solver.step(closure())\n"
    ),
    "it-loses-a-comment": (
        "solver = optim.LBFGS(model.parameters())\n"
        "def closure():\n    solver.zero_grad()\n    loss = criterion(model(X), Y)\n    loss.backward()\n    return loss\n"
        "solver.step(\n    closure(  # now\n    )\n)\n"
    ),
}


@pytest.mark.parametrize("source", UNSOUND.values(), ids=UNSOUND)
def test_unsound_fix_is_left_out_and_its_finding_stays(source: str) -> None:
    [item] = gradlint.check_source(HEAD + source)
    result = mend(HEAD + source, "<stdin>", DEFAULT, unsafe=True)
    assert kind(item.fix) == "safe"
    assert (result.text, result.left, result.fixed) == (HEAD + source, (item,), 0)


def test_a_finding_that_stays_is_not_mended() -> None:
    source = HEAD + PAGES["GL402"][0].replace("    solver.zero_grad()\n    loss", "    loss")
    found = gradlint.check_source(source)
    assert [item.code for item in found] == ["GL402"]
    assert not sound(source, source + "\n", found, found)
    assert sound(source, source + "\n", found, [*found, *found])


def test_what_is_not_selected_may_stay() -> None:
    result = mend(LOOP + SEED, "train.py", Settings(select=("GL905",)))
    assert (result.text, result.fixed) == (LOOP + SEEDED, 1)


def test_what_is_not_selected_counts_too() -> None:
    source = HEAD + UNSOUND["it-uncovers-another-mistake"]
    only = Settings(select=("GL405",))
    assert mend(source, "train.py", only).fixed == 0


def test_suppressed_findings_are_not_fixed() -> None:
    source = "torch.manual_seed = 1  # gradlint: ignore[GL905] a stub\n"
    assert mended(source) == source


def test_edits_are_applied_from_the_back() -> None:
    def edit(row: int, column: int, end_row: int, end_column: int, content: str) -> Edit:
        return Edit(Location("f.py", row, column, end_row, end_column), content)

    edits = [edit(1, 1, 1, 2, "A"), edit(2, 2, 2, 2, "é"), edit(3, 1, 4, 1, "")]
    assert edited("ab\ncd\nef", edits) == "Ab\ncéd\n"


# Any layout ---------------------------------------------------------------------------------------


FIXABLE = {code for code, rule in rules().items() if rule.fix != "none"}
PER_RULE = 2  # More would try the same builders again.


def fixable_blocks() -> Iterator[Block]:
    """Yield a few blocks for each rule that has a fix, such that something in them can be fixed."""
    taken: Counter[str] = Counter()
    for path in (*sorted(RULES.glob("GL*.md")), *sorted(CASES.glob("*.md"))):
        for block in read_blocks(path):
            wanted = FIXABLE & {seen.code for seen in block.expected(Side.STATIC)}
            if "'''" in block.source or all(taken[code] >= PER_RULE for code in wanted):
                continue
            if mend(f"{block.prelude}\n{block.source}", "train.py", DEFAULT, unsafe=True).fixed:
                taken.update(wanted)
                yield block


BLOCKS = list(fixable_blocks())


def plain(source: str) -> str:
    return source.replace("\r\n", "\n").replace("\r", "\n")


def comments(source: str) -> Counter[str]:
    tokens = tokenize.generate_tokens(StringIO(plain(source)).readline)
    return Counter(token.string for token in tokens if token.type == tokenize.COMMENT)


def newlines(source: str) -> set[str]:
    return set(re.findall("\r\n|\r|\n", source))


@st.composite
def layouts(draw: st.DrawFn, block: Block) -> bytes:
    """Return the block behind its prelude with other indentation, newlines, comments and blank lines."""
    indent = draw(st.sampled_from(["\t", "  ", "    "]))
    lines = []
    for number, line in enumerate(block.source.splitlines()):
        body = line.lstrip(" ")
        margin = indent * ((len(line) - len(body)) // 4)
        if body and not block.source.count('"""') and draw(st.integers(0, 5)) == 0:
            lines.append(f"{margin}# note {number}")
        lines.append(f"{margin}{body}")
    newline = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    end = draw(st.sampled_from(["", newline, newline * 2]))
    text = newline.join([*block.prelude.splitlines(), *lines]) + end
    return text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig"])))


def test_the_cases_have_something_to_fix() -> None:
    assert len(BLOCKS) > 40
    found = (gradlint.check_source(f"{block.prelude}\n{block.source}", settings=DEFAULT) for block in BLOCKS)
    assert {item.code for each in found for item in each if item.fix} == FIXABLE


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.id)
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_fixed_code_reads_and_lacks_the_finding_only(block: Block, data: st.DataObject) -> None:
    raw = data.draw(layouts(block))
    found = gradlint.check_source(plain(raw.decode("utf-8-sig")), "train.py", settings=DEFAULT)
    result, before = mend_bytes(raw, "train.py", DEFAULT, unsafe=True)
    ast.parse(result.text)
    assert result.fixed > 0
    assert Counter(item.code for item in result.left) <= Counter(item.code for item in found)
    assert len(result.left) == len(found) - result.fixed
    assert comments(result.text) == comments(before)
    assert newlines(result.text) == newlines(before)
    again, _ = mend_bytes(result.text.encode(), "train.py", DEFAULT, unsafe=True)
    assert (again.text, again.fixed, again.left) == (result.text, 0, result.left)


# Command line -------------------------------------------------------------------------------------

SEED = "import torch\n\ntorch.manual_seed = 1  # fixed\n"
SEEDED = "import torch\n\ntorch.manual_seed(1)  # fixed\n"
LOOP = HEAD + "for x, y in loader:\n    criterion(model(x), y).backward()\n    optimizer.step()\n"


def run(*args: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, args, input=stdin)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file that has a safe fix and one that has an unsafe one; it is the current one."""
    (tmp_path / "seed.py").write_text(SEED, encoding="utf-8")
    (tmp_path / "loop.py").write_text(LOOP, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_fix_applies_safe_fixes_and_reports_what_is_left(project: Path) -> None:
    result = run("--fix", ".")
    assert result.exit_code == 1
    assert (project / "seed.py").read_text() == SEEDED
    assert (project / "loop.py").read_text() == LOOP
    assert "error[GL101]" in result.stdout
    assert "GL905" not in result.stdout
    assert "\nFixed 1; 1 left.\n" in result.stdout


def test_unsafe_fixes_have_to_be_asked_for(project: Path) -> None:
    result = run("--fix", "--unsafe-fixes", ".")
    assert (result.exit_code, result.stdout) == (0, "Fixed 2; 0 left.\n")
    assert "for x, y in loader:\n    optimizer.zero_grad()\n" in (project / "loop.py").read_text()
    assert run(".").exit_code == 0


@pytest.mark.usefixtures("project")
def test_a_second_run_changes_nothing() -> None:
    run("--fix", ".")
    assert "Fixed 0; 1 left." in run("--fix", ".").stdout


DIFF = """\
--- seed.py
+++ seed.py
@@ -1,3 +1,3 @@
 import torch
 
-torch.manual_seed = 1  # fixed
+torch.manual_seed(1)  # fixed
"""


def test_diff_shows_and_does_not_write(project: Path) -> None:
    result = run("--diff", "seed.py")
    assert (result.exit_code, result.stdout, result.stderr) == (1, DIFF, "Would fix 1; 0 left.\n")
    assert (project / "seed.py").read_text() == SEED
    assert run("--diff", "--fix", "seed.py").stdout == DIFF
    assert (project / "seed.py").read_text() == SEED


@pytest.mark.usefixtures("project")
def test_diff_of_what_cannot_be_fixed_is_empty() -> None:
    result = run("--diff", "loop.py")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "Would fix 0; 1 left.\n")
    assert run("--diff", "--unsafe-fixes", "loop.py").exit_code == 1


def test_diff_of_stdin() -> None:
    result = run("--diff", "-", "--stdin-filename", "seed.py", stdin=SEED)
    assert (result.exit_code, result.stdout) == (1, DIFF)


def test_diff_says_where_the_last_newline_is_missing() -> None:
    lines = run("--diff", "-", stdin=SEED.rstrip("\n")).stdout.splitlines()
    assert lines[-4:] == [
        *("-torch.manual_seed = 1  # fixed", "\\ No newline at end of file"),
        *("+torch.manual_seed(1)  # fixed", "\\ No newline at end of file"),
    ]


def test_stdin_has_no_place_to_be_fixed_in() -> None:
    result = run("--fix", "-", stdin=SEED)
    assert result.exit_code == 2
    assert "--diff" in result.stderr


@pytest.mark.usefixtures("project")
def test_json_stays_json() -> None:
    result = run("--fix", "--output-format", "json", ".")
    assert [(item["code"], item["fix"]["applicability"]) for item in json.loads(result.stdout)] == [("GL101", "unsafe")]
    assert result.stderr == "Fixed 1; 1 left.\n"


@pytest.mark.usefixtures("project")
def test_full_format_says_that_there_is_a_fix_and_how_to_apply_it() -> None:
    lines = run(".").stdout.splitlines()
    assert "   = fix: insert `optimizer.zero_grad()` into the loop (with `--unsafe-fixes --fix`)" in lines
    assert "  = fix: call the function (with `--fix`)" in lines


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (SEED.replace("\n", "\r\n").encode(), SEEDED.replace("\n", "\r\n").encode()),
        (SEED.encode("utf-8-sig"), SEEDED.encode("utf-8-sig")),
        (
            f"# coding: latin-1\n{SEED}x = 'é'\n".encode("latin-1"),
            f"# coding: latin-1\n{SEEDED}x = 'é'\n".encode("latin-1"),
        ),
        # A new line among mixed newlines ends as most lines do; all others stay as they are.
        (f"a = 1\r\nb = 2\r\n{SEED}\x0cc = '\u2028'".encode(), f"a = 1\r\nb = 2\r\n{SEEDED}\x0cc = '\u2028'".encode()),
    ],
    ids=["crlf", "bom", "latin-1", "mixed"],
)
def test_bytes_that_are_not_its_business_stay(project: Path, before: bytes, after: bytes) -> None:
    file = project / "seed.py"
    file.write_bytes(before)
    assert run("--fix", "seed.py").exit_code == 0
    assert file.read_bytes() == after


@pytest.mark.parametrize("mode", [0o755, 0o640])
def test_mode_and_link_stay(project: Path, mode: int) -> None:
    (project / "seed.py").chmod(mode)
    (project / "link.py").symlink_to("seed.py")
    assert run("--fix", "link.py").exit_code == 0
    assert (project / "link.py").is_symlink()
    assert (project / "seed.py").read_text() == SEEDED
    assert stat.S_IMODE((project / "seed.py").stat().st_mode) == mode
    assert sorted(path.name for path in project.iterdir()) == ["link.py", "loop.py", "seed.py"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_file_that_cannot_be_written_keeps_its_findings(project: Path) -> None:
    (project / "seed.py").chmod(0o444)
    result = run("--fix", "--output-format", "concise", ".")
    assert result.exit_code == 2
    assert "seed.py:1:1: GL000 this file cannot be written: Permission denied" in result.stdout
    assert "seed.py:3:1: GL905" in result.stdout
    assert (project / "seed.py").read_text() == SEED
