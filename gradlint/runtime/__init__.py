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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal, TextIO

from gradlint.diagnostics import Diagnostic, Severity
from gradlint.runtime.guard import TrainingMistake
from gradlint.runtime.hooks import Hooks
from gradlint.runtime.monitor import Monitor
from gradlint.runtime.pictures import Path, Pictures, Wishes
from gradlint.timeline import Recording

__all__ = ["Report", "TrainingMistake", "watch"]


class Report:
    """What a watched run did wrong; complete once the `with` block has been left."""

    def __init__(self, monitor: Monitor, pictures: Pictures) -> None:
        self._monitor = monitor
        self._pictures = pictures
        self._process = os.getpid()

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
        self._monitor.ended()

    @property
    def recording(self) -> Recording | None:
        """What the run did, iteration by iteration, once it is over; None if nobody wanted a picture of it."""
        return self._pictures.recording

    def draw(self) -> None:
        """Draw the pictures that are wanted, once."""
        if self.is_here:
            self._pictures.draw(self.diagnostics)


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
        leaving.callback(lambda: show(report, sys.stderr if output == "stderr" else output))
        leaving.callback(report.draw)
        leaving.callback(report.finish)
        pictures.install(leaving)
        leaving.enter_context(Hooks(monitor, monitor.rhythm).install())
        try:
            yield report
        except BaseException as error:
            report.interrupt()
            report.explain(error)
            raise


def show(report: Report, stream: TextIO | None, output_format: str = "full", *, always: bool = False) -> None:
    """Write the findings of a run to `stream`, if there are any (or `always`); say so if gradlint itself failed."""
    from gradlint.reporters import render

    if not report.is_here:
        return
    if report.failure is not None:
        error = f"{type(report.failure).__name__}: {report.failure}"
        print(f"gradlint: watching ended early by an error of gradlint's own: {error}", file=sys.stderr)
    if stream is not None and (report.diagnostics or always):
        render(report.diagnostics, stream, output_format)
