"""What the static side finds does not depend on where the code stands: each block again, moved elsewhere."""

from __future__ import annotations

import functools
import re
import textwrap
from dataclasses import replace

import pytest
from pages import CASES, RULES, Block, Seen, found_static, read_blocks

WRAPPERS = {
    "function": ("def main():\n", "    ", "\nmain()\n"),
    "method": ("class App:\n    def run(self):\n", "        ", "\nApp().run()\n"),
    "main-guard": ("if __name__ == '__main__':\n", "    ", ""),
    "try": ("try:\n", "    ", "finally:\n    print('done')\n"),
    "with": ("with open('log') as log:\n", "    ", ""),
}
# In a function `global` means another variable; text and comments about gradlint itself are not code.
FIXED = re.compile(r"^ *global |GL000|GL001", re.MULTILINE)

BLOCKS = [
    block
    for path in (*sorted(RULES.glob("GL*.md")), *sorted(CASES.glob("*.md")))
    for block in read_blocks(path)
    if not FIXED.search(block.source)
]


def _moved(block: Block, wrapper: str) -> Block:
    before, indent, after = WRAPPERS[wrapper]
    source = before + textwrap.indent(block.source, indent) + after
    return replace(block, source=source, row=block.row - before.count("\n"))


@functools.cache
def _in_place(block: Block) -> frozenset[Seen]:
    return found_static(block)


def _difference(before: frozenset[Seen], after: frozenset[Seen]) -> str:
    told = [f"{word} {sorted(seen)}" for word, seen in (("lost", before - after), ("new", after - before)) if seen]
    return ", ".join(told)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_findings_move_with_the_code(wrapper: str) -> None:
    pairs = ((block, _in_place(block), found_static(_moved(block, wrapper))) for block in BLOCKS)
    assert [f"{block.id}: {_difference(here, there)}" for block, here, there in pairs if here != there] == []
