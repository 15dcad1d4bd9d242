"""The programs that `*.toml` states. Must not know how they are run."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Change:
    """Rows of a file and what takes their place, at the same indentation."""

    file: str
    put: dict[int, str]

    def apply(self, source: str) -> str:
        """Return the source with the change in it."""
        lines = source.splitlines(keepends=True)
        for row, text in self.put.items():
            line = lines[row - 1]
            lines[row - 1] = line[: len(line) - len(line.lstrip())] + text + "\n"
        return "".join(lines)


@dataclass(frozen=True, slots=True)
class Mistake:
    """A change that makes a correct program wrong; `finds` are CODE:ROW of what is to be found then, sorted."""

    change: Change
    finds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A script of a repository at a commit.

    It runs in a copy of `folder` with `arguments`, the first of which is the script. `path` are folders of that copy and
    `stubs` folders of ours from which it imports, `data` is what `data.py` makes in the copy before, `needs` are the
    packages beside torch. `edits` make it short, or let it run with the packages of today;
    `driver` is a script of ours, `driver.py`, that calls its training loop. `seconds` is the time limit.
    """

    name: str
    repo: str
    commit: str
    folder: str
    arguments: tuple[str, ...]
    path: tuple[str, ...]
    stubs: tuple[str, ...]
    needs: tuple[str, ...]
    data: str
    environment: dict[str, str]
    edits: Change
    driver: str
    seconds: int
    mistakes: tuple[Mistake, ...]


def read_programs() -> list[Program]:
    """Return the programs of all lists."""
    programs = []
    for file in sorted(HERE.glob("*.toml")):
        stated = tomllib.loads(file.read_text(encoding="utf-8"))
        programs += [_program(each, stated["commits"]) for each in stated["program"]]
    return programs


def _program(stated: dict[str, Any], commits: dict[str, str]) -> Program:
    arguments = tuple(shlex.split(stated["run"]))
    return Program(
        name=stated["name"],
        repo=stated["repo"],
        commit=commits[stated["repo"]],
        folder=stated.get("folder", "."),
        arguments=arguments,
        path=tuple(stated.get("path", ())),
        stubs=tuple(stated.get("stubs", ())),
        needs=tuple(stated.get("needs", ())),
        data=stated.get("data", ""),
        environment=stated.get("environment", {}),
        driver=stated.get("driver", ""),
        edits=_change({"put": stated.get("edits", {})}, arguments[0]),
        seconds=stated.get("seconds", 600),
        mistakes=tuple(_mistake(each, arguments[0]) for each in stated["mistakes"]),
    )


def _mistake(stated: dict[str, Any], script: str) -> Mistake:
    return Mistake(_change(stated, script), tuple(sorted(stated["finds"])))


def _change(stated: dict[str, Any], script: str) -> Change:
    return Change(stated.get("file", script), {int(row): text for row, text in stated["put"].items()})
