"""Real public programs under watch: silent where they are right, found on the line where a mistake was put in.

    python benchmarks/programs.py --mirror MIRROR --work WORK [--python PYTHON] [--program NAME ...] [--details]

`public/*.toml` says which programs: repository, commit, arguments that make them short, what stands in for data that
would be downloaded, and the mistakes, each a row with another text and what is to be found then. MIRROR holds the
repositories, git directories OWNER+NAME/repo. WORK is a folder outside the project, for other people's code. PYTHON is
that of an environment with the packages of `public/requirements.txt`; programs whose packages it lacks are told and left out.

Each program runs bare, under `gradlint run`, and once with each mistake. It must end with the same exit code and print the
same lines, those with times aside; and what is found must be what is stated, no more and no less.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from labelled.trees import Trees
from public.reading import Mistake, Program, read_programs
from public.running import Runner

ROOT = Path(__file__).resolve().parents[1]
HEADINGS = ("program", "steps", "as bare", "findings", "mistakes found on the line")


@dataclass
class Total:
    """What all programs came to."""

    programs: int = 0
    silent: int = 0
    same: int = 0
    found: int = 0
    mistakes: int = 0
    notes: list[str] = field(default_factory=list)


def main() -> int:
    """Print the table; return 1 if something was not as stated."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("mirror", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="of the environment of the programs")
    parser.add_argument("--program", action="append", help="run this one only; may be repeated")
    parser.add_argument("--details", action="store_true", help="tell each mistake as soon as it is tried")
    options = parser.parse_args()
    work = options.work.resolve()
    if work.is_relative_to(ROOT):
        parser.error(f"{work} is inside the project: other people's code must stay outside")
    programs = [each for each in read_programs() if not options.program or each.name in options.program]
    runner = Runner(Trees(options.mirror.resolve(), work / "trees"), work / "runs", options.python.absolute())
    print_row(HEADINGS)
    print_row(["---"] * len(HEADINGS))
    total = Total()
    for program in programs:
        missing = runner.missing(program)
        if missing:
            total.notes.append(f"{program.name}: left out, there is no {missing}")
        else:
            print_row(row_of(program, runner, total, details=options.details))
    print(f"\n{total.programs} programs, {total.silent} silent, {total.same} as bare; ", end="")
    print(f"{total.found} of {total.mistakes} mistakes found on the line")
    print(*(f"- {note}" for note in total.notes), sep="\n")
    return int((total.silent, total.same, total.found) != (total.programs, total.programs, total.mistakes))


def row_of(program: Program, runner: Runner, total: Total, *, details: bool) -> Iterator[str]:
    """Run a program in all its forms; yield the cells of its row."""
    bare, watched = runner.bare(program), runner.watched(program)
    same = bare.code == watched.code and bare.lines == watched.lines
    total.programs += 1
    total.same += same
    total.silent += not (bare.code or watched.found)
    if not same:
        difference = bare.difference(watched)
        total.notes.append(f"{program.name}: exit code {bare.code} bare, {watched.code} watched; {difference}")
    if bare.code or watched.found:
        total.notes.append(f"{program.name}: {', '.join(watched.found) or 'fails: ' + bare.error}")
    found = [is_found(program, mistake, runner, total, details=details) for mistake in program.mistakes]
    as_bare = "fails" if bare.code else "yes" if same else "no"
    yield from (program.name, str(watched.steps), as_bare, str(len(watched.found)))
    yield f"{sum(found)}/{len(found)}"


def is_found(program: Program, mistake: Mistake, runner: Runner, total: Total, *, details: bool) -> bool:
    """Run a program with a mistake in it; tell whether what is found is what is stated."""
    run = runner.watched(program, mistake)
    right = sorted(set(run.found)) == sorted(mistake.finds)
    total.mistakes += 1
    total.found += right
    told = f"{program.name}, row {min(mistake.change.put)}: {', '.join(run.found) or 'nothing found'}"
    if not right:
        total.notes.append(f"{told}, not {', '.join(mistake.finds)}")
    if details:
        told = told if right else f"{told} != {', '.join(mistake.finds)}; exit code {run.code} {run.error}"
        print(told, file=sys.stderr, flush=True)
    return right


def print_row(cells: Iterable[str]) -> None:
    """Print a row of a Markdown table."""
    print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    sys.exit(main())
