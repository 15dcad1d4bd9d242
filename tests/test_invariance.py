"""What the static side finds does not depend on where the code stands: each block says it again, moved elsewhere."""

from __future__ import annotations

import ast
import re
import textwrap
from dataclasses import replace

import pytest
from pages import CASES, RULES, Block, Seen, found_static, read_blocks

from gradlint.diagnostics import Side

WRAPPERS = {
    "function": ("def main():\n", "    ", "\nmain()\n"),
    "method": ("class App:\n    def run(self):\n", "        ", "\nApp().run()\n"),
    "main-guard": ("if __name__ == '__main__':\n", "    ", ""),
    "try": ("try:\n", "    ", "finally:\n    print('done')\n"),
    "with": ("with open('log') as log:\n", "    ", ""),
}
# In a function `global`, and a name that is assigned from itself, mean another variable; whoever steps twice outside of one
# shows what a step does; what a module switches off can be switched on, in a function it is dead; text and comments about
# gradlint itself are not code; a marimo notebook is one by its outermost rows.
FIXED = re.compile(
    r"^ *global |^app = marimo|^\w+ = False$|^(\w+) = \1\.|^(\w+)\.step\(\)\n\2\.step|GL000|GL001", re.MULTILINE
)
IMPORTS = re.compile(r"(?:(?:import|from) .*\n|\n)*")
"""What a block that has no prelude begins with: it stays where it is."""
LOCAL = ("function", "method")

BLOCKS = [
    block
    for path in (*sorted(RULES.glob("GL*.md")), *sorted(CASES.glob("*.md")))
    for block in read_blocks(path)
    if not FIXED.search(block.source)
]


def _left_alone(block: Block) -> bool:
    """Whether a block defines what nobody in it uses: inside a function that would be dead code, not an interface."""
    tree = ast.parse(block.source)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name not in used for node in tree.body)


def _moved(block: Block, wrapper: str) -> Block:
    before, indent, after = WRAPPERS[wrapper]
    imports = "" if block.prelude else IMPORTS.match(block.source)[0]  # type: ignore[index]
    source = imports + before + textwrap.indent(block.source.removeprefix(imports), indent) + after
    return replace(block, source=source, row=block.row - before.count("\n"))


def _difference(before: frozenset[Seen], after: frozenset[Seen]) -> str:
    told = [f"{word} {sorted(seen)}" for word, seen in (("lost", before - after), ("new", after - before)) if seen]
    return ", ".join(told)


def _is_due(number: int, block: Block, wrapper: str) -> bool:
    """Whether a block is moved so: what is found in two ways, and what is silent in one of them, in turn: all of them take long."""
    way = (list(WRAPPERS).index(wrapper) - number) % len(WRAPPERS)
    return way < (2 if block.assertions else 1)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_findings_move_with_the_code(wrapper: str) -> None:
    due = [block for number, block in enumerate(BLOCKS) if _is_due(number, block, wrapper)]
    blocks = [block for block in due if wrapper not in LOCAL or not _left_alone(block)]
    pairs = ((block, block.expected(Side.STATIC), found_static(_moved(block, wrapper))) for block in blocks)
    assert [f"{block.id}: {_difference(here, there)}" for block, here, there in pairs if here != there] == []
