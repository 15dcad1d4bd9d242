"""Precision and recall on labelled real code, gradlint beside its peers, in one table.

    python benchmarks/realcode.py --lists FOLDER --mirror MIRROR --work WORK [--tool NAME ...] [--details]

FOLDER holds `bugs.jsonl` (commits that fixed a training-loop mistake) and `loops.jsonl` (training loops with a verdict).
MIRROR holds their repositories, git directories OWNER+NAME/repo. WORK is a folder outside the project: other people's
code and the environments of the peers are kept there, and what each tool said, so that a second run only asks tools that
have changed.

A case counts as caught when a finding of some code near the mistake is there before the fix and gone after it;
`labelled/scoring.py` says what near is and when a loop counts as flagged. Each tool is asked for the labelled files of a
tree at once. gradlint, which judges a file by those that call it, is given these, too; a peer judges each file by itself.
A peer has a row for its rules on training loops, by which it is to be compared, and one for all of its rules. Seconds are
of CPU time, for all files.
"""

from __future__ import annotations

import argparse
import functools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from labelled.labels import VISIBLE, Case, Finding, Loop, read_cases, read_loops
from labelled.runs import LIMIT, Answer, Runs
from labelled.scoring import Score, about, caught_by
from labelled.tools import GRADLINT, NOT_TRIED, ROOT, TOOLS, Tool
from labelled.trees import Trees, callers

HEADINGS = (
    "tool", "rules", *(f"cases: {visible}" for visible in VISIBLE[:3]), "bug loops", "recall",
    "clean flagged", "arguable", "precision", "per 1,000 loops", "CPU s",
)  # fmt: skip


@dataclass(frozen=True)
class Lists:
    """The labels whose trees are there, and the labelled files of each tree."""

    cases: list[tuple[Case, Path, Path]]
    loops: dict[Path, list[Loop]]

    @functools.cached_property
    def files(self) -> dict[Path, list[str]]:
        """Return the labelled files, by tree."""
        files: dict[Path, set[str]] = defaultdict(set)
        for tree, loops in self.loops.items():
            files[tree].update(loop.path for loop in loops)
        for case, before, after in self.cases:
            files[before].add(case.path)
            files[after].add(case.after_path)
        return {tree: sorted(paths) for tree, paths in files.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("lists", "mirror", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--tool", action="append", choices=list(TOOLS), help="ask this tool only; may be repeated")
    parser.add_argument("--details", action="store_true", help="tell each case and each flagged loop")
    options = parser.parse_args()
    work = options.work.resolve()
    if work.is_relative_to(ROOT):
        parser.error(f"{work} is inside the project: other people's code must stay outside")
    lists = read_lists(options.lists, Trees(options.mirror.resolve(), work / "trees"))
    tools = [tool for tool in TOOLS.values() if (tool.name in options.tool if options.tool else not tool.on_request)]
    report(lists, Runs(work), tools, details=options.details)


def read_lists(folder: Path, trees: Trees) -> Lists:
    """Return the labels; those whose trees the mirror lacks are told and left out."""
    cases, loops = [], defaultdict(list)
    for case in read_cases(folder / "bugs.jsonl"):
        before, after = trees.at(case.repo, case.before), trees.at(case.repo, case.after)
        if before and after:
            cases.append((case, before, after))
        else:
            print(f"not in the mirror: {case.repo}, case {case.name}")
    for loop in read_loops(folder / "loops.jsonl"):
        tree = trees.at(loop.repo, loop.commit)
        if tree:
            loops[tree].append(loop)
        else:
            print(f"not in the mirror: {loop.repo}, {loop.path}")
    return Lists(cases, dict(loops))


def report(lists: Lists, runs: Runs, tools: list[Tool], *, details: bool) -> None:
    """Ask each tool and print a row for it as soon as it is there, then what there is to note."""
    asked = {tool.name for tool in tools}
    notes = [f"{name}: {why}" for name, why in NOT_TRIED.items() if name not in asked]
    print_row(HEADINGS)
    print_row(["---"] * len(HEADINGS))
    for tool in tools:
        version = runs.prepare(tool)
        if not version:
            notes.append(f"{tool.name}: does not install")
            continue
        answers = ask(tool, version, lists, runs)
        shown = f"{tool.name}{'' if tool is GRADLINT else ' ' + version}"
        for rules, loop_rules_only in (("loops", True), ("all", False)):
            if not (tool.loop_rules if loop_rules_only else tool is not GRADLINT):
                continue
            score = score_of(lists, answers, tool if loop_rules_only else None)
            print_row(row_of(shown, rules, score, sum(answer.seconds for answer in answers.values())))
            if details:
                print("", *score.details, "", sep="\n")
        notes += notes_on(tool, answers)
    print("", *(f"- {note}" for note in notes), sep="\n")


def ask(tool: Tool, version: str, lists: Lists, runs: Runs) -> dict[Path, Answer]:
    """Return what a tool says of each tree's labelled files."""
    answers = {}
    for tree, files in lists.files.items():
        readable = [path for path in files if path.endswith(tool.suffixes) and (tree / path).exists()]
        if tool.callers:
            readable = sorted({*readable, *callers(tree, readable)})
        answers[tree] = runs.check(tool, version, tree, readable) if readable else Answer()
    return answers


def score_of(lists: Lists, answers: dict[Path, Answer], only: Tool | None) -> Score:
    """Return the figures of a tool, by its loop rules `only` or by all of its rules."""

    def found(tree: Path) -> list[Finding]:
        return [item for item in answers[tree].findings if only is None or only.is_loop_rule(item.code)]

    score = Score()
    for case, before, after in lists.cases:
        text = (before / case.path).read_text(encoding="utf-8", errors="replace")
        score.add_case(case, caught_by(case, found(before), found(after), text))
    for tree, loops in lists.loops.items():
        read = functools.cache(functools.partial(_text, tree))
        for loop, items in zip(loops, about(loops, found(tree), read), strict=True):
            score.add_loop(loop, items)
    return score


def row_of(name: str, rules: str, score: Score, seconds: float) -> Iterator[str]:
    """Yield the cells of a tool's row."""
    loops = score.loops
    number = sum(tally.of for tally in loops.values())
    yield from (name, rules, *(str(score.caught.get(visible, "")) for visible in VISIBLE[:3]))
    yield from (str(loops["bug"]), f"{score.recall:.0%}")
    yield f"{loops['clean']} ({loops['clean'].hit / max(loops['clean'].of, 1):.1%})"
    yield from (str(loops["arguable"]), "-" if score.precision is None else f"{score.precision:.0%}")
    yield from (f"{1000 * score.findings / max(number, 1):.0f}", f"{seconds:.0f}")


def notes_on(tool: Tool, answers: dict[Path, Answer]) -> Iterator[str]:
    """Yield what is to be known of a tool's row."""
    if tool.loop_rules and tool is not GRADLINT:
        yield f"{tool.name}: loop rules are {', '.join(tool.loop_rules)}" + (f" ({tool.note})" if tool.note else "")
    elif tool.note:
        yield f"{tool.name}: {tool.note}"
    silent = sum(len(answer.silent) for answer in answers.values())
    if silent:
        yield f"{tool.name}: {silent} files without an answer within {LIMIT} s"


def print_row(cells: Iterable[str]) -> None:
    """Print a row of a Markdown table."""
    print("|", " | ".join(cells), "|", flush=True)


def _text(tree: Path, path: str) -> str:
    return (tree / path).read_text(encoding="utf-8", errors="replace")


if __name__ == "__main__":
    main()
