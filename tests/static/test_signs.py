"""Signs: a file in which some rule finds something has one, whichever rule it is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from pages import CASES, RULES, Block, read_blocks

from gradlint.config import Settings
from gradlint.diagnostics import Side
from gradlint.static.engine import check_bytes
from gradlint.static.sources.reading import mentions_training
from gradlint.static.sources.signs import is_plain, may_act, may_find
from gradlint.static.syntax.deeds import acts
from gradlint.static.syntax.index import Index
from gradlint.static.understanding import FAILS_ANYHOW

BLOCKS = [
    block
    for folder in (RULES, CASES)
    for page in sorted(folder.glob("**/*.md"))
    for block in read_blocks(page)
    if any(assertion.side is Side.STATIC and not assertion.todo for assertion in block.assertions)
]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.id)
def test_what_is_found_has_a_sign(block: Block) -> None:
    data = f"import torch\n{block.source}".encode()
    assert may_find(data) or not is_plain(data) or not mentions_training(data)


def _is_read(block: Block) -> bool:
    data = f"import torch\n{block.source}".encode()
    return mentions_training(data) and may_find(data) and is_plain(data)


WRONG_IN_TESTS = [block for block in BLOCKS if any(each.seen.code in FAILS_ANYHOW for each in block.assertions)]


@pytest.mark.parametrize("block", WRONG_IN_TESTS, ids=lambda block: block.id)
def test_what_is_wrong_in_a_test_is_found_there(block: Block) -> None:
    source = f"import pytest\n{block.prelude}\n{block.source}"
    codes = [
        {each.code for each in check_bytes(source.encode(), name, Settings(preview=True)) if each.code in FAILS_ANYHOW}
        for name in ("example.py", "test_example.py")
    ]
    assert codes[0] == codes[1]


@pytest.mark.parametrize("block", [*filter(_is_read, BLOCKS)], ids=lambda block: block.id)
def test_file_in_which_nothing_acts_loses_no_finding(block: Block) -> None:
    """Without the names of the prelude, which act, some examples have nothing but what a rule by words finds."""
    source = f"import torch\n{block.source}"
    settings = Settings(preview=True)
    whole, by_words = (check_bytes(source.encode(), "example.py", settings, whole=whole) for whole in (True, False))
    assert by_words == whole


def _acts(source: str) -> bool:
    try:
        return acts(Index(ast.parse(source), source))
    except SyntaxError:
        return False


def test_where_anything_acts_the_text_tells() -> None:
    rows = {row.strip() for block in BLOCKS for row in block.source.splitlines()}
    texts = [*sorted(rows), *(block.source for block in BLOCKS)]
    assert [text for text in texts if _acts(text) and not may_act(text.encode())] == []


@pytest.mark.parametrize("file", sorted(Path(torch.optim.__file__).parent.glob("*.py")), ids=lambda file: file.name)
def test_where_a_file_of_torch_acts_its_text_tells(file: Path) -> None:
    data = file.read_bytes()
    assert may_act(data) or not _acts(data.decode())


@pytest.mark.parametrize(
    "source",
    [
        "self.training = timestep(nn.Module)",
        "env.step(action)",
        "class F(Function):\n    def backward(ctx, gradient):\n        return is_backward(gradient)",
        "node.backward = self.train",
        "signature(f).parameters",
        "eval(text)",
        "isinstance(x, torch.optim.Optimizer)",
        "'loss.backward()'  # optimizer.step()",
    ],
)
def test_what_does_not_act(source: str) -> None:
    assert not acts(Index(ast.parse(source), source))


AROUND = [
    ("", "  # on purpose"),
    ("colour = '#fff'; ", ""),
    ('"""No \\""" ends here,\nand no \'\'\' begins."""\n', ""),
    ('quotes = "\'\'\'"  # \'\'\'\nothers = """one"""\n# """\n', "\n# '''"),
    ('text = rf"""\n{', '}"""'),
    ("x = 1\r", "\r"),
]


@pytest.mark.parametrize(
    "source",
    [
        "my_optimizer.step()",
        "opt.step(model.parameters())",
        "criterion = MSELoss()",
        "losses = [make(nn.MSELoss)]",
        "backward(loss)",
        "loss.backward",
        "run(loss.backward)",
        "run(then=model.eval)",
        "optim.SGD(given)",
        "import torch.optim as solvers\nsolvers.SGD(given)",
        "from torch.optim import SGD\nSGD(given)",
        "make_optimizer(model.parameters())",
        "for group in groups:\n    group['lr'] = 0.1",
        "weight.data -= rate * weight.grad",
        "model.register_forward_hook(save)",
    ],
)
def test_what_acts(source: str) -> None:
    assert acts(Index(ast.parse(source), source))
    for before, after in AROUND:
        assert may_act(f"{before}{source}{after}".encode())


@pytest.mark.parametrize(
    "source",
    [
        "import torch\n\ndef f(x):\n    return backward_compatible(x)\n",
        "# Module\nseed = 3\nprint(seed)\n",
        "def f(m: nn.Module):\n    with torch.no_grad():\n        return m\n",
        "class Mode(enum.Enum):\n    TRAIN = 'train'\n",
        "x = 1  # as loss.backward()\n",
        '"""Call ``loss.backward()`` first.\n\n    >>> optimizer.step()\n"""\n',
        'x = 1\n"""\nloss.backward()\n"""\n',
        "'''\n\"\"\"loss.backward()\n'''\nx = 1\n",
        'x = r"""\nclass Net(nn.Module): pass\n"""\n',
        "class F(Function):\n    def backward(ctx, gradient):\n        return signature(f).parameters(gradient)\n",
        "from optimizers import F\n\ndef zero_grad(state):\n    return state.parameters\n",
        "def kl_div(x):\n    return {F.nll_loss: 'lr'}\n",
    ],
)
def test_what_has_none(source: str) -> None:
    assert is_plain(source.encode())
    assert not may_find(source.encode())


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_sign_stands_in_a_row_of_code(newline: str) -> None:
    assert may_find(f"# a comment{newline}loss.backward(){newline}".encode())


def test_package_that_a_project_says_trains_is_one() -> None:
    assert not is_plain(b"import ours\n", {"ours"})
