"""How many mistakes are found when one is put into correct code: `python benchmarks/mutations.py FOLDER`.

FOLDER holds Python files with training loops that are taken to be correct; nothing is written to it. Each mutation is applied at one
place of every file that it fits, and counts as found if the file has a finding more than before. Only one file is in sight at a time,
as for `gradlint file.py`, and not every mutation is a mistake: a model without dropout needs no `eval()`, and what is cleared twice no
second `zero_grad()`. So the figures are floors, to be compared with those of another state of gradlint.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gradlint import check_source

_OPTIMIZER = r"[\w.]*(?:opt|solver)\w*"
_END = r"[ \t]*(?:#.*)?$"


def _line(call: str) -> str:
    """Return the pattern of a line that is nothing but a call."""
    return rf"^([ \t]+){call}{_END}"


@dataclass(frozen=True)
class Mutation:
    """A mistake: its name, how it is put in, and the rules that may tell of it."""

    name: str
    pattern: str
    replacement: str
    codes: frozenset[str]

    def apply(self, source: str) -> str:
        """Return `source` with the mistake at one of the places that it fits, that in the middle; unchanged if there is none."""
        places = list(re.finditer(self.pattern, source, re.MULTILINE | re.IGNORECASE))
        if not places:
            return source
        place = places[len(places) // 2]
        return source[: place.start()] + place.expand(self.replacement) + source[place.end() :]


def _deleted(call: str, pattern: str, *codes: str) -> Mutation:
    return Mutation(f"{call} deleted", _line(pattern), r"\1pass", frozenset(codes))


MUTATIONS = (
    _deleted("zero_grad()", rf"{_OPTIMIZER}\.zero_grad\([^()\n]*\)", "GL101", "GL102", "GL107", "GL108", "GL402"),
    _deleted("backward()", r"[\w.]*loss\w*\.backward\([^()\n]*\)", "GL103", "GL104"),
    _deleted("optimizer.step()", rf"{_OPTIMIZER}\.step\(\)", "GL106", "GL701"),
    _deleted("eval()", r"[\w.]+\.eval\(\)", "GL302", "GL303"),
    _deleted("train()", r"[\w.]+\.train\(\)", "GL301", "GL304"),
    _deleted("scaler.unscale_()", r"[\w.]*scaler\w*\.unscale_\(.*\)", "GL601"),
    _deleted("scaler.update()", r"[\w.]*scaler\w*\.update\(\)", "GL605"),
    _deleted("set_epoch()", r"[\w.]*\.set_epoch\(.*\)", "GL709"),
    Mutation(
        "zero_grad() before step()",
        _line(rf"({_OPTIMIZER})\.step\(\)"),
        r"\1\2.zero_grad()\n\1\2.step()",
        frozenset({"GL103"}),
    ),
    Mutation("step() twice", _line(rf"({_OPTIMIZER})\.step\(\)"), r"\1\2.step()\n\1\2.step()", frozenset({"GL109"})),
    Mutation(
        "clipping behind step()",
        rf"^([ \t]+)([\w.]*clip_grad_norm_\(.*\)){_END}\n\1({_OPTIMIZER}\.step\(\)){_END}",
        r"\1\3\n\1\2",
        frozenset({"GL602"}),
    ),
    Mutation(
        "scheduler before optimizer",
        rf"^([ \t]+)({_OPTIMIZER}\.step\(\)){_END}\n\1([\w.]*sched\w*\.step\([^()\n]*\)){_END}",
        r"\1\3\n\1\2",
        frozenset({"GL201"}),
    ),
    Mutation("loss summed with its graph", r"(\+= *\w*loss\w*)\.item\(\)", r"\1", frozenset({"GL501"})),
    Mutation("loss listed with its graph", r"(\.append\(\w*loss\w*)\.item\(\)\)", r"\1)", frozenset({"GL501"})),
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
            more = _codes(mutant, path) - _codes(source, path)
            yield any(code in mutation.codes for code in more)


@functools.cache  # Each file is asked what it had before once for all mutations.
def _codes(source: str, path: Path) -> Counter[str]:
    return Counter(found.code for found in check_source(source, str(path)))


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
