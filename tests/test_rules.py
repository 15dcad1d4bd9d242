"""Every block of every rule page and case file, on both sides; and what holds for the pages as a whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import CASES, RULES, Block, Seen, complaints, found_runtime, found_static, read_blocks

from gradlint.diagnostics import Side
from gradlint.protocols import PROTOCOLS
from gradlint.rulebook import Rule, rules
from gradlint.wordings import WORDINGS

SECTIONS = ["What it does", "Why is this bad?", "Example", "Use instead", "Known limits"]

PAGES = sorted(RULES.glob("GL*.md"))
BLOCKS = [block for path in (*PAGES, *sorted(CASES.glob("*.md"))) for block in read_blocks(path)]
ALL_RULES = list(rules().values())


def _id(item: Block | Rule) -> str:
    return item.id if isinstance(item, Block) else item.code


@pytest.mark.parametrize("block", BLOCKS, ids=_id)
def test_static_side_finds_what_the_block_says(block: Block) -> None:
    wrong = complaints(block, Side.STATIC, found_static(block))
    assert wrong == []


@pytest.mark.filterwarnings("ignore")  # What is wrong on purpose makes torch warn.
@pytest.mark.parametrize("block", [block for block in BLOCKS if block.runs], ids=_id)
def test_runtime_side_finds_what_the_block_says(block: Block) -> None:
    pytest.importorskip("torch")
    wrong = complaints(block, Side.RUNTIME, found_runtime(block))
    assert wrong == []


def test_pages_and_wordings_are_in_bijection() -> None:
    assert set(rules()) == set(WORDINGS)


def test_every_violating_edge_has_a_page() -> None:
    assert {code for protocol in PROTOCOLS for code in protocol.codes} <= set(rules())


@pytest.mark.parametrize("rule", ALL_RULES, ids=_id)
def test_sides_are_what_the_examples_show(rule: Rule) -> None:
    blocks = read_blocks(RULES / f"{rule.code}-{rule.name}.md")
    shown = {item.side for block in blocks for item in block.assertions if item.seen.code == rule.code}
    assert rule.sides == shown


@pytest.mark.parametrize("rule", ALL_RULES, ids=_id)
def test_page_has_its_title_and_sections(rule: Rule) -> None:
    assert rule.page.startswith(f"# {rule.name} ({rule.code})\n")
    assert re.findall(r"^## (.+)$", rule.page, re.MULTILINE) == SECTIONS


@pytest.mark.parametrize("rule", ALL_RULES, ids=_id)
def test_page_shows_the_mistake_and_its_correct_twin(rule: Rule) -> None:
    blocks = read_blocks(RULES / f"{rule.code}-{rule.name}.md")
    assert any(block.assertions for block in blocks if block.heading == "Example")
    assert any(not block.assertions for block in blocks if block.heading == "Use instead")


def _page(folder: Path, *lines: str) -> Block:
    path = folder / "page.md"
    path.write_text("\n".join(("# A page", "", "```py", *lines, "```", "")), encoding="utf-8")
    [block] = read_blocks(path)
    return block


LOOP = ("for x, y in loader:", "    criterion(model(x), y).backward()")


@pytest.mark.parametrize(
    ("last", "wrong"),
    [
        ("    optimizer.step()  # error: [GL101]", []),
        ("    optimizer.step()", ["finds it, unasked"]),
        ("    optimizer.step()  # error: [GL103]", ["misses it", "finds it, unasked"]),
        ("    optimizer.step()  # todo(static): [GL101] todo(runtime): [GL101]", ["mended"]),
        ("    optimizer.step()  # todo(static): not [GL101] todo(runtime): not [GL101]", []),
    ],
    ids=["right", "forgotten", "another-rule", "mended-miss", "known-false-alarm"],
)
@pytest.mark.parametrize("side", Side, ids=lambda side: side.value)
def test_harness_judges_a_page(tmp_path: Path, last: str, wrong: list[str], side: Side) -> None:
    block = _page(tmp_path, *LOOP, last)
    found = found_static(block) if side is Side.STATIC else found_runtime(block)
    told = complaints(block, side, found)
    assert len(told) == len(wrong)
    assert all(text in line for text, line in zip(wrong, told, strict=True))


def test_harness_asserts_on_the_very_line(tmp_path: Path) -> None:
    block = _page(tmp_path, *LOOP, "    optimizer.step()  # error: [GL101]")
    a_line_above = frozenset({Seen(block.row + 1, "GL101")})
    assert len(complaints(block, Side.STATIC, a_line_above)) == 2


def test_harness_reports_an_exception_of_a_block_that_states_no_finding(tmp_path: Path) -> None:
    block = _page(tmp_path, "raise ArithmeticError")
    with pytest.raises(ArithmeticError):
        found_runtime(block)


@pytest.mark.parametrize("comment", ["eror: [GL101]", "error: [GL1]", "error: [GL101 GL102]", "static: not [GL101]"])
def test_harness_refuses_what_only_looks_like_an_assertion(tmp_path: Path, comment: str) -> None:
    with pytest.raises(ValueError, match=r"not an assertion|needs no assertion"):
        _page(tmp_path, f"optimizer.step()  # {comment}")


def test_two_sides_may_name_one_line_differently(tmp_path: Path) -> None:
    block = _page(tmp_path, "optimizer.step()  # static: [GL102] runtime: [GL101]")
    assert block.expected(Side.STATIC) == {Seen(block.row, "GL102")}
    assert block.expected(Side.RUNTIME) == {Seen(block.row, "GL101")}
