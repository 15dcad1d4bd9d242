"""Other people's tutorial texts, as a user would paste them: prose, output and code in one piece.

The texts are not ours and not in the repository; where they lie beside the checkout, they are read.
What they teach is in `cases/tutorials.md`, in our own reduced form, and always tested.
"""

from __future__ import annotations

import ast
import re

import pytest
from pages import ROOT

import gradlint

TEXTS = {path.name[:3]: path for path in sorted((ROOT.parent / "shared" / "tutorials").glob("[0-9][0-9][0-9]_*.txt"))}

SEED = ("GL905", "torch.random.seeds = 100")
MASKED = ("GL111", "loss.requires_grad_(True)")
FOUND = {
    "000": [],
    "001": [("GL214", "lr = lr_poly("), ("GL804", "self.conv1 =")],
    "002": [],
    "003": [SEED, MASKED, SEED, SEED, ("GL407", "myloss.backward()"), SEED, MASKED],
    "004": [],
}


def _parses(lines: list[str]) -> bool:
    try:
        ast.parse("\n".join(lines))
    except SyntaxError:
        return False
    return True


def _longest_prefix(lines: list[str]) -> list[str]:
    """Return the longest start of `lines` that is Python: what follows is output or prose."""
    return next(lines[:end] for end in range(len(lines), -1, -1) if _parses(lines[:end]))


def _pasted(text: str) -> str:
    """Return all stretches of lines that are Python, in order, as one module."""
    kept: list[str] = []
    rest = text.splitlines()
    while rest:
        good = _longest_prefix(rest)
        kept += good
        rest = rest[max(len(good), 1) :]
    return "\n".join(kept) + "\n"


def _cells(text: str) -> str:
    """Return the code of the notebook cells, in order, as one module."""
    _, *cells = re.split(r"^In \[\d+\]:$", text, flags=re.MULTILINE)
    return "\n".join("\n".join(_longest_prefix(cell.splitlines())) for cell in cells) + "\n"


def _found(source: str) -> list[tuple[str, str]]:
    lines = source.splitlines()
    found = sorted(gradlint.check_source(source, filename="tutorial.py"), key=lambda item: item.order)
    return [(item.code, lines[item.location.row - 1].strip()) for item in found]


def _agree(found: list[tuple[str, str]], expected: list[tuple[str, str]]) -> bool:
    return len(found) == len(expected) and all(
        code == wanted and line.startswith(start) for (code, line), (wanted, start) in zip(found, expected, strict=True)
    )


def _read(number: str) -> str:
    if number not in TEXTS:
        pytest.skip("the tutorial texts are not beside this checkout")
    return TEXTS[number].read_text(encoding="utf-8")


@pytest.mark.parametrize("number", FOUND)
def test_whole_text_is_unreadable_and_no_crash(number: str) -> None:
    [diagnostic] = gradlint.check_source(_read(number), filename=f"{number}.py")
    assert diagnostic.code == "GL000"


@pytest.mark.parametrize("number", FOUND)
def test_pasted_code(number: str) -> None:
    found = _found(_pasted(_read(number)))
    assert _agree(found, FOUND[number]), found


def test_notebook_cells() -> None:
    found = _found(_cells(_read("003")))
    assert _agree(found, FOUND["003"]), found


def test_longest_prefix_stops_at_output() -> None:
    assert _longest_prefix(["x = 1", "for i in x:", "    print(i)", "", "=====done====="]) == [
        "x = 1",
        "for i in x:",
        "    print(i)",
        "",
    ]
