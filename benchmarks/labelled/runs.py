"""Running a tool over files of a tree, in an environment of its own, and keeping what it said."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labelled.labels import Finding
from labelled.tools import GRADLINT, ROOT, Tool, own_version

LIMIT = 60
"""Seconds that a tool may take for a file."""


@dataclass(slots=True)
class Answer:
    """What a tool said of some files, in how many seconds of CPU time; of the `silent` ones it said nothing in time."""

    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0
    silent: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Runs:
    """The environments and the kept answers below `work`."""

    work: Path

    def prepare(self, tool: Tool) -> str:
        """Return the version of a tool, installed if need be; "" where it cannot be installed."""
        if tool is GRADLINT:
            return own_version()
        state = self.work / "venvs" / f"{tool.name}.txt"
        if not state.exists():
            state.parent.mkdir(parents=True, exist_ok=True)
            state.write_text(self._install(tool), encoding="utf-8")
        return state.read_text(encoding="utf-8").strip()

    def check(self, tool: Tool, version: str, tree: Path, paths: Sequence[str]) -> Answer:
        """Return what a tool says of files of a tree; it is asked once for each version of it."""
        key = hashlib.sha256("\n".join(paths).encode()).hexdigest()[:12]
        kept = self.work / "raw" / f"{tool.name}@{version}" / f"{tree.name}.{key}.json"
        if kept.exists():
            return _read(kept)
        answer = self._ask_all(tool, tree, paths)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(dataclasses.asdict(answer), indent=1), encoding="utf-8")
        return answer

    def _ask_all(self, tool: Tool, tree: Path, paths: Sequence[str]) -> Answer:
        """Ask for all files at once, and for each alone where that takes too long or ends in an error."""
        answer = self._ask(tool, tree, paths)
        if not answer.silent or len(paths) == 1:
            return answer
        alone = [self._ask(tool, tree, [path]) for path in paths]
        return Answer(
            [item for each in alone for item in each.findings],
            sum(each.seconds for each in alone),
            [path for each in alone for path in each.silent],
        )

    def _ask(self, tool: Tool, tree: Path, paths: Sequence[str]) -> Answer:
        before = _children_seconds()
        try:
            done = subprocess.run(
                [self._program(tool), *tool.command[1:], *paths], cwd=tree, env=self._environment(tool),
                capture_output=True, text=True, errors="replace", timeout=LIMIT * len(paths), check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Answer(seconds=_children_seconds() - before, silent=list(paths))
        spent = _children_seconds() - before
        if done.returncode and (not done.stdout.strip() or "Traceback (most recent call last)" in done.stderr):
            return Answer(seconds=spent, silent=list(paths))
        return Answer(
            [dataclasses.replace(item, path=_relative(item.path, tree)) for item in tool.read(done.stdout)], spent
        )

    def _program(self, tool: Tool) -> str:
        return tool.command[0] if tool is GRADLINT else str(self._bin(tool) / tool.command[0])

    def _bin(self, tool: Tool) -> Path:
        return self.work / "venvs" / tool.name / "bin"

    def _environment(self, tool: Tool) -> dict[str, str]:
        # Nothing that the user has set up, and no word to anybody outside.
        home = self.work / "home"
        home.mkdir(parents=True, exist_ok=True)
        own = {"PYTHONPATH": str(ROOT)} if tool is GRADLINT else {}
        return {"PATH": os.environ["PATH"], "HOME": str(home), "NO_COLOR": "1", "PYTHONWARNINGS": "ignore", **own}

    def _install(self, tool: Tool) -> str:
        shutil.rmtree(self._bin(tool).parent, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(self._bin(tool).parent)], check=True)
        python = str(self._bin(tool) / "python")
        for arguments in tool.install:
            if subprocess.run([python, "-m", "pip", "install", "-q", *arguments], check=False).returncode:
                return ""
        package = next(word for word in tool.install[0] if not word.startswith("-"))
        shown = subprocess.run(
            [python, "-m", "pip", "show", package], capture_output=True, text=True, check=True
        ).stdout
        return next(line.split()[1] for line in shown.splitlines() if line.startswith("Version:"))


def _read(kept: Path) -> Answer:
    table = json.loads(kept.read_text(encoding="utf-8"))
    return Answer([Finding(**row) for row in table["findings"]], table["seconds"], table["silent"])


def _relative(path: str, tree: Path) -> str:
    return Path(os.path.relpath(path, tree) if os.path.isabs(path) else os.path.normpath(path)).as_posix()


def _children_seconds() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime
