"""The Markdown pages as tests: their code blocks, what these assert, and what each side sees in them.

A page is any Markdown file; it must not matter here whether it is a rule page or a case file.
`docs/writing-rules.md` is the description of the format.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import gradlint
from gradlint.config import Settings
from gradlint.diagnostics import Diagnostic, Side

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "rules"
CASES = Path(__file__).resolve().parent / "cases"
EVERYTHING = Settings(preview=True)
PRELUDE = (RULES / "prelude.py").read_text(encoding="utf-8")

_BLOCK = re.compile(r"^```py(?P<info>[^\n]*)\n(?P<source>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} +(.+)$", re.MULTILINE)
_CODES = r"\[(?P<codes>GL\d{3}(?:, GL\d{3})*)\]"
_ASSERTION = re.compile(rf"\b(?:(?P<who>error|static|runtime)|todo\((?P<todo>static|runtime)\)): (?P<no>not )?{_CODES}")
_LOOKS_LIKE_ONE = re.compile(r":\s*(?:not )?\[GL")
_ALONE = re.compile(r"^import torch$", re.MULTILINE)


@dataclass(frozen=True, slots=True, order=True)
class Seen:
    """A rule broken on a line: what a block asserts, and what a side finds."""

    row: int
    code: str


@dataclass(frozen=True, slots=True)
class Assertion:
    """What one line says about one side.

    `todo` marks what that side is known to get wrong: a miss or, with `wrong`, a false alarm.
    """

    seen: Seen
    side: Side
    todo: bool = False
    wrong: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced `py` block: `row` is the page's row of its first line of code, `info` the words after `py`."""

    path: Path
    row: int
    source: str
    info: frozenset[str]
    heading: str
    assertions: tuple[Assertion, ...]

    @property
    def id(self) -> str:
        """Where the block is, as a test id."""
        return f"{self.path.name}:{self.row}"

    @property
    def runs(self) -> bool:
        """Whether it can be executed in one process: `py static` and `py ranks` opt out."""
        return not self.info & {"static", "ranks"}

    @property
    def prelude(self) -> str:
        """The source in front of it: none for a block that says `import torch` itself."""
        return "" if _ALONE.search(self.source) else PRELUDE

    def expected(self, side: Side) -> frozenset[Seen]:
        """Return what `side` must find in its present state, known false alarms included."""
        mine = (item for item in self.assertions if item.side is side)
        return frozenset(item.seen for item in mine if item.wrong or not item.todo)

    def known_misses(self, side: Side) -> frozenset[Seen]:
        """Return what `side` should find and is known not to."""
        return frozenset(item.seen for item in self.assertions if item.side is side and item.todo and not item.wrong)


def blocks_for_ranks() -> list[Block]:
    """Return the blocks of all pages that need two processes: `py ranks`."""
    return [block for path in sorted(RULES.glob("GL*.md")) for block in read_blocks(path) if "ranks" in block.info]


def read_blocks(path: Path) -> list[Block]:
    """Return the blocks of a page; raises ValueError for a comment that looks like an assertion and is none."""
    text = path.read_text(encoding="utf-8")
    return [_block(path, text, match) for match in _BLOCK.finditer(text)]


def _block(path: Path, text: str, match: re.Match[str]) -> Block:
    row = text.count("\n", 0, match.start("source")) + 1
    headings = _HEADING.findall(text, 0, match.start())
    return Block(
        path=path,
        row=row,
        source=match["source"],
        info=frozenset(match["info"].split()),
        heading=headings[-1] if headings else "",
        assertions=tuple(_assertions(path, row, match["source"])),
    )


def _assertions(path: Path, first_row: int, source: str) -> Iterator[Assertion]:
    for row, line in enumerate(source.splitlines(), first_row):
        _, _, comment = line.partition("#")
        found = list(_ASSERTION.finditer(comment))
        if len(found) != len(_LOOKS_LIKE_ONE.findall(comment)):
            raise ValueError(f"{path.name}:{row}: not an assertion: {comment.strip()}")
        for match in found:
            yield from _read(match, row)


def _read(match: re.Match[str], row: int) -> Iterator[Assertion]:
    wrong, todo = bool(match["no"]), bool(match["todo"])
    if wrong and not todo:
        raise ValueError(f"row {row}: silence needs no assertion; `not` belongs to todo(...)")
    who = match["todo"] or match["who"]
    sides = tuple(Side) if who == "error" else (Side(who),)
    for code in match["codes"].split(", "):
        yield from (Assertion(Seen(row, code), side, todo, wrong) for side in sides)


def found_static(block: Block) -> frozenset[Seen]:
    """Return what the static side finds in the block, in rows of the page."""
    source = f"{block.prelude}\n{block.source}" if block.prelude else block.source
    shift = block.row - 1 - (source.count("\n") - block.source.count("\n"))
    return _seen(gradlint.check_source(source, filename=str(block.path), settings=EVERYTHING), shift)


def found_runtime(block: Block) -> frozenset[Seen]:
    """Execute the block under `gradlint.watch()` and return what the run-time side sees.

    An exception is part of the example where the block states a finding; elsewhere it is raised.
    """
    namespace: dict[str, object] = {"__name__": "__main__"}
    exec(compile(block.prelude, str(RULES / "prelude.py"), "exec"), namespace)  # noqa: S102
    padded = "\n" * (block.row - 1) + block.source
    tolerated = (Exception,) if block.assertions else ()
    import torch

    # What a block does to the grad mode ends with it.
    with torch.enable_grad(), contextlib.suppress(*tolerated), gradlint.watch(output=None) as report:
        exec(compile(padded, str(block.path), "exec"), namespace)  # noqa: S102
    return _seen(report.diagnostics, 0)


def _seen(diagnostics: Iterable[Diagnostic], shift: int) -> frozenset[Seen]:
    return frozenset(Seen(item.location.row + shift, item.code) for item in diagnostics)


def complaints(block: Block, side: Side, found: frozenset[Seen]) -> list[str]:
    """Return what is wrong with what `side` found in the block; empty if the page tells the truth."""
    expected, misses = block.expected(side), block.known_misses(side)
    mended = sorted(found & misses)
    return [
        *(_complaint(block, item, f"{side.value} misses it") for item in sorted(expected - found)),
        *(_complaint(block, item, f"{side.value} finds it, unasked") for item in sorted(found - expected - misses)),
        *(_complaint(block, item, "mended: turn the todo into an assertion") for item in mended),
    ]


def _complaint(block: Block, seen: Seen, text: str) -> str:
    lines = block.source.splitlines()
    inside = 0 <= seen.row - block.row < len(lines)
    line = lines[seen.row - block.row].strip() if inside else "(outside the block)"
    return f"{block.path.name}:{seen.row}: {seen.code}: {text}: {line}"
