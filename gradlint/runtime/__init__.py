"""The run-time side: watch a training run and report its mistakes when it is over.

    with gradlint.watch() as report:
        train(model, optimizer)
    report.diagnostics

Needs torch; must not import libcst.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal, TextIO

from gradlint.diagnostics import Diagnostic
from gradlint.runtime.guard import TrainingMistake
from gradlint.runtime.hooks import Hooks
from gradlint.runtime.monitor import Monitor

__all__ = ["Report", "TrainingMistake", "watch"]


class Report:
    """What a watched run did wrong; complete once the `with` block has been left."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._process = os.getpid()

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """The findings so far, by file and line."""
        return self._monitor.ledger.diagnostics

    @property
    def failure(self) -> Exception | None:
        """The error of gradlint's own that ended the watching early, if there was one."""
        return self._monitor.guard.failure

    @property
    def is_here(self) -> bool:
        """Whether this is the process that was watched, not a child that inherited the report."""
        return os.getpid() == self._process

    def explain(self, error: BaseException) -> None:
        """Find out why `error` was raised, which leaves the watched program."""
        self._monitor.left(error)

    def finish(self) -> None:
        """Decide what was left open; nothing is found after this."""
        self._monitor.ended()


@contextmanager
def watch(*, strict: bool = False, output: TextIO | Literal["stderr"] | None = "stderr") -> Iterator[Report]:
    """Watch the training code of a `with` block.

    What is found is written to `output` when the block is left, however that happens (None: to nobody).
    `strict` raises TrainingMistake at the first finding, where it happens. What the block raises is raised on.
    """
    monitor = Monitor(strict=strict)
    report = Report(monitor)
    with ExitStack() as leaving:
        leaving.callback(lambda: show(report, sys.stderr if output == "stderr" else output))
        leaving.callback(report.finish)
        leaving.enter_context(Hooks(monitor).install())
        try:
            yield report
        except BaseException as error:
            monitor.guard.relax()
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
