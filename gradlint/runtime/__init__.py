"""The run-time side: watch a training run and report its mistakes when it is over.

    with gradlint.watch() as report:
        train(model, optimizer)
    report.diagnostics

Needs torch; must not import libcst.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Literal, TextIO

import torch

from gradlint.diagnostics import Diagnostic, Severity
from gradlint.records import Record
from gradlint.runtime.versions import require

require(torch.__version__)  # before what is newer is imported
from gradlint.runtime import swapping
from gradlint.runtime.guard import TrainingMistake
from gradlint.runtime.hooks import Hooks
from gradlint.runtime.loaders import Loaders
from gradlint.runtime.monitor import Monitor
from gradlint.runtime.pictures import Path, Pictures, Wishes
from gradlint.runtime.piles import Piles
from gradlint.runtime.replicas import Replicas
from gradlint.runtime.samplers import Samplers
from gradlint.runtime.sites import reached
from gradlint.timeline import Recording

__all__ = ["Report", "TrainingMistake", "watch"]


class Report:
    """What a watched run did wrong; complete once the `with` block has been left."""

    def __init__(self, monitor: Monitor, pictures: Pictures) -> None:
        self._monitor = monitor
        self._pictures = pictures
        self._process = os.getpid()
        self._loaders = Loaders(
            monitor.ledger, monitor.guard, monitor.registry, monitor.modes, monitor.rhythm, monitor.loop_begins
        )
        self._hooks = Hooks(monitor, monitor.rhythm)
        self._samplers = Samplers(monitor.ledger, monitor.guard, self._hooks.stepping)
        self._piles = Piles(monitor.ledger, monitor.guard, self._hooks.stepping)
        self._replicas = Replicas(monitor.guard, self._hooks)
        self._installed = ExitStack()

    def install(self) -> ExitStack:
        """Start to watch; closing the returned stack undoes everything."""
        self._pictures.install(self._installed)
        for each in (self._hooks, self._samplers, self._loaders, self._piles, self._replicas):
            self._installed.enter_context(each.install())
        self._installed.enter_context(swapping.install())
        return self._installed

    def abandon(self) -> None:
        """Watch no more, and find nothing more: this process is a child of the one that was watched."""
        self._monitor.guard.close()
        self._installed.close()

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """The findings so far, by file and line."""
        return self._monitor.ledger.diagnostics

    def scalars(self) -> dict[str, float]:
        """Return how many findings there are so far, under names that any experiment tracker takes."""
        severities = [each.severity for each in self.diagnostics]
        return {f"gradlint/{severity.value}s": float(severities.count(severity)) for severity in Severity}

    @property
    def failure(self) -> Exception | None:
        """The error of gradlint's own that ended the watching early, if there was one."""
        return self._monitor.guard.failure

    @property
    def is_here(self) -> bool:
        """Whether this is the process that was watched, not a child that inherited the report."""
        return os.getpid() == self._process

    def interrupt(self) -> None:
        """The run ends before its time: what has not happened may have been to come."""
        self._monitor.interrupted = True
        self._monitor.guard.relax()

    def explain(self, error: BaseException) -> None:
        """Find out why `error` was raised, which leaves the watched program."""
        self._monitor.left(error)

    def finish(self) -> None:
        """Decide what was left open; nothing is found after this."""
        self._loaders.ended()
        self._monitor.ended()

    def show(self, stream: TextIO | None) -> None:
        """Write the findings to `stream`, if there are any and this is the process that was watched."""
        if self.is_here:
            show(self.diagnostics, self._failure(), stream)

    def _failure(self) -> str:
        return "" if self.failure is None else f"{type(self.failure).__name__}: {self.failure}"

    def record(self, rank: int | None, *, ended: bool) -> Record:
        """Return what this process saw, for a report on several; `ended` tells whether the program ended by itself."""
        replicas = self._replicas.records()
        rank = replicas[0].rank if replicas else rank
        return Record(rank, ended, self._monitor.steps, tuple(self.diagnostics), replicas, reached(), self._failure())

    @property
    def recording(self) -> Recording | None:
        """What the run did, iteration by iteration, once it is over; None if nobody wanted a picture of it."""
        return self._pictures.recording

    def draw(self, others: Sequence[Recording] = (), report: Sequence[Diagnostic] = ()) -> None:
        """Draw the pictures that are wanted, once, with the recordings of other processes beside this one's.

        `report`: what is told of the run, where that is more than it has shown.
        """
        if self.is_here:
            self._pictures.draw(self.diagnostics, others, report)


@contextmanager
def watch(
    *,
    strict: bool = False,
    output: TextIO | Literal["stderr"] | None = "stderr",
    html: Path | None = None,
    trace: Path | None = None,
    timeline: bool | TextIO = False,
    record: Path | None = None,
) -> Iterator[Report]:
    """Watch the training code of a `with` block.

    What is found is written to `output` when the block is left, however that happens (None: to nobody).
    `strict` raises TrainingMistake at the first finding, where it happens. What the block raises is raised on.
    The run is recorded if a picture of it is wanted: `html`, `trace` and `record` are the files of the page, of the
    Chrome trace and of the recording itself, `timeline` is where the text goes (True: to `output`); `report.recording` has what was recorded.
    """
    monitor = Monitor(strict=strict)
    stream = sys.stderr if output == "stderr" else output
    text = (stream or io.StringIO() if timeline else None) if isinstance(timeline, bool) else timeline
    pictures = Pictures(Wishes(html, trace, record, text))
    report = Report(monitor, pictures)
    with ExitStack() as leaving:
        leaving.callback(lambda: report.show(sys.stderr if output == "stderr" else output))
        leaving.callback(report.draw)
        leaving.callback(report.finish)
        leaving.enter_context(report.install())
        try:
            yield report
        except BaseException as error:
            report.interrupt()
            report.explain(error)
            raise


def show(
    found: Sequence[Diagnostic],
    failure: str,
    stream: TextIO | None,
    output_format: str = "full",
    *,
    always: bool = False,
) -> None:
    """Write the findings of a run to `stream`, if there are any (or `always`); say so if gradlint itself failed."""
    from gradlint.reporters import render

    if failure:
        print(f"gradlint: watching ended early by an error of gradlint's own: {failure}", file=sys.stderr)
    if stream is not None and (found or always):
        render(found, stream, output_format)
