"""Running a public program, bare or watched, in a fresh copy of its folder. Must not know what is expected of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labelled.trees import Trees

from public.reading import HERE, Change, Mistake, Program

_ROOT = HERE.parents[1]
_ALONE = {
    "OMP_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "CUDA_VISIBLE_DEVICES": "",
    "MPLBACKEND": "Agg",
    "TQDM_DISABLE": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "WANDB_MODE": "disabled",
}
_LACKS = "import importlib.util, sys; print(*[name for name in sys.argv[1:] if not importlib.util.find_spec(name)])"
_TIMED = re.compile(r"time|ms/|SPS|it/s|sec|\bdt\b|mfu|\d\.\d+s|0x[0-9a-f]|/s\b|elapsed|ETA|fps|pid", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Run:
    """How a program ended: its exit code, the lines that say nothing of time, CODE:ROW of each finding."""

    code: int
    lines: list[str]
    error: str
    found: list[str]
    steps: int

    def difference(self, other: Run) -> str:
        """Return the first line in which two runs differ, in words."""
        pairs = zip([*self.lines, "(the end)"], [*other.lines, "(the end)"], strict=False)
        return next((f"{one!r} became {two!r}" for one, two in pairs if one != two), "the same lines")


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs programs from `trees` in folders below `runs`, with the interpreter `python`."""

    trees: Trees
    runs: Path
    python: Path

    def missing(self, program: Program) -> str:
        """Return what a program lacks here; nothing if it can run."""
        if self.trees.at(program.repo, program.commit) is None:
            return f"{program.repo} in the mirror"
        asked = subprocess.run([self.python, "-c", _LACKS, *program.needs], capture_output=True, text=True, check=True)
        return f"package {asked.stdout.strip()}" if asked.stdout.strip() else ""

    def bare(self, program: Program) -> Run:
        """Run a program as it is, by Python alone."""
        return self._run(program, self._prepared(program, program.edits), ())

    def watched(self, program: Program, mistake: Mistake | None = None) -> Run:
        """Run a program under watch, perhaps with a mistake in it."""
        folder = self._prepared(program, program.edits, *([mistake.change] if mistake else []))
        report, records = folder / "gradlint.json", folder / "gradlint-records"
        options = ("--no-lint", "--output-format", "json", "--output-file", report, "--output-dir", records)
        return self._run(program, folder, ("-m", "gradlint", "run", *map(str, options)))

    def _prepared(self, program: Program, *changes: Change) -> Path:
        """Return a fresh copy of a program's folder, with its data and with changes."""
        folder, tree = self.runs / program.name, self.trees.at(program.repo, program.commit)
        assert tree is not None
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tree / program.folder, folder)
        if program.driver:
            (folder / "driver.py").write_text(program.driver, encoding="utf-8")
        script = folder / program.arguments[0]
        if not script.exists():
            notebook = script.with_suffix(".ipynb").read_text(encoding="utf-8")
            script.write_text(_script(notebook), encoding="utf-8")
        for change in changes:
            file = folder / change.file
            file.write_text(change.apply(file.read_text(encoding="utf-8")), encoding="utf-8")
        if program.data:
            subprocess.run([self.python, HERE / "data.py", program.data, folder], check=True)
        return folder

    def _run(self, program: Program, folder: Path, before: Sequence[str]) -> Run:
        command = [str(self.python), *before, *program.arguments]
        try:
            done = subprocess.run(
                command, check=False, cwd=folder, env=self._environment(program, folder), stdin=subprocess.DEVNULL,
                capture_output=True, text=True, errors="replace", timeout=program.seconds,
            )  # fmt: skip
            code, out, error = done.returncode, done.stdout, done.stderr
        except subprocess.TimeoutExpired:
            code, out, error = 124, "", f"takes longer than {program.seconds} s"
        lines = [line for line in out.splitlines() if not _TIMED.search(line)]
        said = [line for line in error.splitlines() if "gradlint" in line]
        last = " ".join(said or error.strip().splitlines()[-1:])
        return Run(code, lines, last, _found(folder), _steps(folder))

    def _environment(self, program: Program, folder: Path) -> dict[str, str]:
        stubs = (HERE / "stubs" / name for name in ("seeds", *program.stubs))
        path = [_ROOT, *stubs, *(folder / each for each in program.path)]
        return {**os.environ, **_ALONE, **program.environment, "PYTHONPATH": os.pathsep.join(map(str, path))}


def _script(notebook: str) -> str:
    """Return the code of a notebook, a blank line after each cell; magics become comments."""
    cells = (each["source"] for each in json.loads(notebook)["cells"] if each["cell_type"] == "code")
    text = "\n\n".join(cell if isinstance(cell, str) else "".join(cell) for cell in cells)
    return re.sub(r"^(?=[%!])", "# ", text, flags=re.MULTILINE)


def _found(folder: Path) -> list[str]:
    """Return CODE:ROW of each finding; the file is told where it is not a file of the program's own folder."""
    report = folder / "gradlint.json"
    if not report.exists():
        return []
    found = json.loads(report.read_text(encoding="utf-8"))
    return sorted(f"{each['code']}:{each['location']['row']}" for each in found)


def _steps(folder: Path) -> int:
    records = (json.loads(file.read_text(encoding="utf-8")) for file in (folder / "gradlint-records").glob("*.json"))
    return sum(record["steps"] for record in records)
