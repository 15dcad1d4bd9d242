"""Where the records of a run's processes come together: in a folder, without a word between the processes.

Each process writes its own record when it ends; one of them waits a little for the others and reads them all. Under
`torchrun` that is local rank 0 of each node, else the process that was started. Must not know what is in a record or a recording.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gradlint import records
from gradlint.records import Record
from gradlint.reporters import recorded
from gradlint.timeline import Recording

VARIABLE = "GRADLINT_OUTPUT_DIR"
_PATIENCE = 5.0  # seconds
_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Gathering:
    """The folder of a run, and who this process is in it.

    `name` is that of its record, `peers` are the names of all records of this node, its own included; `first` is
    whether this is the one that merges, `kept` whether the records stay.
    """

    folder: Path
    name: str
    rank: int | None
    peers: tuple[str, ...]
    first: bool
    kept: bool

    def begin(self) -> None:
        """Make the folder, and remove what a former process of this name and its children have left there."""
        with contextlib.suppress(OSError):  # it will be told at the end
            records.make(self.folder)
            for file in (self.folder / f"{self.name}.json", *self.folder.glob(f"{self.name}-child-*.json")):
                file.unlink(missing_ok=True)

    def gather(self, own: Record, waits: Callable[[], bool] = lambda: False) -> list[Record] | None:
        """Return the records of all processes of this node, or None if another one gathers them; raises OSError.

        It waits for peers, and while `waits` says that children are still at work, but not for long.
        """
        if self.kept or not self.first:
            records.make(self.folder)
            records.write(own, self.folder, self.name)
        if not self.first:
            return None
        missing = self._wait(waits)
        if missing:
            print(f"gradlint: no report came from {', '.join(missing)}", file=sys.stderr)
        if waits():
            print("gradlint: child processes are still at work: the report is without what they do", file=sys.stderr)
        others = [file for file in records.files(self.folder) if self._is_here(file) and file.stem != self.name]
        return [own, *(records.read(file) for file in others)]

    @property
    def recording(self) -> Path:
        """Where this process leaves its recording for the one that draws."""
        return self.folder / f"{self.name}.recording"

    def recordings(self) -> list[Recording]:
        """Return the recordings that the others of this node have left, once their records are there."""
        files = [file for name in self.peers if name != self.name for file in self.folder.glob(f"{name}.*recording")]
        return [each for file in files for each in recorded.read(file.read_text(encoding="utf-8").splitlines())]

    def clear(self) -> None:
        """Remove the folder, with what came too late to be told; it is kept where the user has asked for it."""
        if not self.first or self.kept:
            return
        told = self.folder.with_name(f"{self.folder.name}-told")
        with contextlib.suppress(OSError):  # so that a worker that ends just now does not write into what is removed
            self.folder.rename(told)
        for folder in (told, self.folder):
            shutil.rmtree(folder, ignore_errors=True)

    def _wait(self, waits: Callable[[], bool]) -> list[str]:
        """Return the names of the peers that have not come in time."""
        end = time.monotonic() + _PATIENCE
        while True:
            missing = [name for name in self.peers if name != self.name and not (self.folder / f"{name}.json").exists()]
            if time.monotonic() > end or not (missing or waits()):
                return missing
            time.sleep(_PAUSE)

    def _is_here(self, file: Path) -> bool:
        """Tell whether a record is of this node: of a peer, or of a child of one."""
        return any(file.stem == name or file.stem.startswith(f"{name}-child-") for name in self.peers)


def gathering(output_dir: str | None, environment: Mapping[str, str] = os.environ) -> Gathering:
    """Return where the records of this process go; `output_dir` (or a variable) is where they are kept."""
    chosen = output_dir or environment.get(VARIABLE)
    world, here = _number(environment, "WORLD_SIZE"), _number(environment, "LOCAL_WORLD_SIZE", "LOCAL_SIZE")
    rank, local = _number(environment, "RANK"), _number(environment, "LOCAL_RANK")
    if not world or world < 2 or rank is None or local is None or here is None:
        name = f"process-{os.getpid()}"
        folder = Path(chosen) if chosen else _temporary(f"{name}-{time.time_ns()}")
        return Gathering(folder.absolute(), name, rank, (name,), True, bool(chosen))
    peers = tuple(f"rank-{each}" for each in range(rank - local, rank - local + here))
    # Of one agent, and of one attempt of its: what is left of others has another name.
    parts = ("TORCHELASTIC_RUN_ID", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT")
    run = "-".join(environment.get(part, "0").replace(os.sep, "_") for part in parts)
    folder = Path(chosen) if chosen else _temporary(f"{run}-{os.getppid()}")
    return Gathering(folder.absolute(), f"rank-{rank}", rank, peers, local == 0, bool(chosen))


def _number(environment: Mapping[str, str], *names: str) -> int | None:
    return next((int(environment[name]) for name in names if environment.get(name, "").isdigit()), None)


def _temporary(name: str) -> Path:
    return Path(tempfile.gettempdir()) / f"gradlint-{os.getuid() if hasattr(os, 'getuid') else 0}-{name}"
