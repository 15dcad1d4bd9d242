"""Signs: a file in which some rule finds something has one, whichever rule it is."""

from __future__ import annotations

import pytest
from pages import CASES, RULES, Block, read_blocks

from gradlint.config import Settings
from gradlint.diagnostics import Side
from gradlint.static.engine import check_bytes
from gradlint.static.reading import mentions_training
from gradlint.static.signs import act, is_plain, may_find

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
    assert may_find(data) or not mentions_training(data)


def _is_read(block: Block) -> bool:
    data = f"import torch\n{block.source}".encode()
    return mentions_training(data) and may_find(data) and is_plain(data)


@pytest.mark.parametrize("block", [*filter(_is_read, BLOCKS)], ids=lambda block: block.id)
def test_file_in_which_nothing_acts_loses_no_finding(block: Block) -> None:
    """Without the names of the prelude, which act, some examples have nothing but what a rule by words finds."""
    source = f"import torch\n{block.source}"
    settings = Settings(preview=True)
    whole, by_words = (check_bytes(source.encode(), "example.py", settings, whole=whole) for whole in (True, False))
    assert by_words == whole


@pytest.mark.parametrize(
    ("mentioned", "acts"),
    [
        ({"torch", "nn", "Module", "training", "timestep"}, False),
        ({"env", "step", "action"}, False),
        ({"step", "my_optimizer"}, True),
        ({"MSELoss"}, True),
        ({"backward"}, True),
    ],
)
def test_what_acts(mentioned: set[str], acts: bool) -> None:
    assert act(frozenset(mentioned)) is acts


@pytest.mark.parametrize(
    "source",
    [
        "import torch\n\ndef f(x):\n    return backward_compatible(x)\n",
        "# Module\nseed = 3\nprint(seed)\n",
        "def f(m: nn.Module):\n    with torch.no_grad():\n        return m\n",
        "class Mode(enum.Enum):\n    TRAIN = 'train'\n",
    ],
)
def test_what_has_none(source: str) -> None:
    assert not may_find(source.encode())


def test_package_that_a_project_says_trains_is_one() -> None:
    assert may_find(b"import ours\n", {"ours"})
