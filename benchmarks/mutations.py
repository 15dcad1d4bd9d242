"""How many mistakes are found when one is put into correct code: `python benchmarks/mutations.py FOLDER`.

FOLDER holds Python files with training loops that are taken to be correct; nothing is written to it. Each mutation is applied to every
file that it fits, and counts as found if the file has a finding that it had not before. Only one file is in sight at a time, as
for `gradlint file.py`.
"""

from __future__ import annotations

import ast
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gradlint import check_source

_STATEMENT = re.compile(r"^(\s*)[\w.\[\]]+\.zero_grad\([^()\n]*\)\s*(#.*)?$", re.MULTILINE)
_STEP = re.compile(
    r"^(\s*)(\w*(?:opt|solver)\w*(?:\.\w+)*|self\.\w*opt\w*)\.step\(\)[ \t]*$", re.MULTILINE | re.IGNORECASE
)
_ITEM = re.compile(r"(\+= *\w*loss\w*)\.item\(\)")
_TRAIN = re.compile(r"^(\s*)[\w.]+\.train\(\)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Mutation:
    """A mistake: its name, how it is put in, and the rules that may tell of it."""

    name: str
    pattern: re.Pattern[str]
    replacement: str
    codes: frozenset[str]

    def apply(self, source: str) -> str:
        """Return `source` with the mistake at every place that it fits."""
        return self.pattern.sub(self.replacement, source)


MUTATIONS = (
    Mutation("zero_grad deleted", _STATEMENT, r"\1pass", frozenset({"GL101", "GL102", "GL107", "GL108", "GL402"})),
    Mutation("zero_grad before step", _STEP, r"\1\2.zero_grad()\n\1\2.step()", frozenset({"GL103"})),
    Mutation("step twice", _STEP, r"\1\2.step()\n\1\2.step()", frozenset({"GL109"})),
    Mutation("loss summed with its graph", _ITEM, r"\1", frozenset({"GL501"})),
    Mutation("train() deleted", _TRAIN, r"\1pass", frozenset({"GL304"})),
)


def main(folder: str) -> None:
    """Print, for each mutation, how many of the mutated files were caught."""
    files = {path: path.read_text(encoding="utf-8", errors="replace") for path in sorted(Path(folder).rglob("*.py"))}
    trainers = {path: text for path, text in files.items() if ".backward(" in text and ".step(" in text}
    print(f"{len(trainers)} of {len(files)} files train")
    for mutation in MUTATIONS:
        results = list(_results(mutation, trainers))
        print(f"{mutation.name:28} {sum(results):4} of {len(results):4} found")


def _results(mutation: Mutation, files: dict[Path, str]) -> Iterator[bool]:
    for path, source in files.items():
        mutant = mutation.apply(source)
        if mutant != source and _parses(mutant):
            yield bool(_codes(mutant, path) & mutation.codes - _codes(source, path))


def _codes(source: str, path: Path) -> set[str]:
    return {found.code for found in check_source(source, str(path))}


def _parses(source: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source)
    except SyntaxError:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1])
