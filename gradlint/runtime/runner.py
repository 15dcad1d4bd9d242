"""Runs a script or a module as Python would, and watches it.

The program gets its own `__main__`, arguments and path; its output, exit code and traceback stay its own. The way is
coverage.py's: `runpy.run_path` would swap `__main__` back, and so break pickling and exit handlers.
Knows programs and how they end; must not know what is found in them.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import TextIO

from gradlint.diagnostics import Diagnostic, Severity, Side
from gradlint.merging import combined
from gradlint.records import Record
from gradlint.runtime import Report, show, watch
from gradlint.runtime.children import at_work, children
from gradlint.runtime.gathering import Gathering
from gradlint.runtime.gathering import gathering as gather
from gradlint.runtime.program import CannotRun, Program, find_module, find_script
from gradlint.runtime.sites import is_ours
from gradlint.runtime.termination import die_of, postponed, terminated
from gradlint.timeline import Recording


@dataclass(frozen=True, slots=True)
class Telling:
    """How the report is written (None: to stderr, for stdout is the program's), and who knows what else of the program."""

    output_format: str = "full"
    output_file: str | None = None
    confirm: Callable[[Record], Sequence[Diagnostic]] | None = None


@dataclass(frozen=True, slots=True)
class Drawing:
    """Files for pictures of the run; `timeline` shows one on stderr."""

    html: str | None = None
    trace: str | None = None
    record: str | None = None
    timeline: bool = False

    def of(self, gathering: Gathering) -> Drawing:
        """Return what is left to this process: one draws for all, the others leave their recordings to it."""
        wanted = self.html or self.trace or self.record or self.timeline
        if gathering.first or not wanted:
            return self
        return Drawing(record=str(gathering.recording))

    def watch(self) -> AbstractContextManager[Report]:
        """Watch, and draw."""
        timeline = sys.stderr if self.timeline else False
        return watch(output=None, html=self.html, trace=self.trace, record=self.record, timeline=timeline)


_FAILING = {"error": (Severity.ERROR,), "warning": (Severity.ERROR, Severity.WARNING), "info": tuple(Severity)}


def run_command(
    target: str,
    args: Sequence[str],
    *,
    module: bool = False,
    fail_on: str | None = None,
    output_dir: str | None = None,
    telling: Telling = Telling(),
    drawing: Drawing = Drawing(),
) -> int:
    """Run a script (or a module) under watch, report when it is over, however it ends, and return the exit code.

    The code is the program's own, 2 if it could not be started; with `fail_on` (a severity) it is 1 if the program
    succeeded but a finding is at least that severe. After Ctrl-C the process ends by that signal, as Python does.
    In a run of many processes one of them reports and draws for all; `output_dir` keeps what each of them saw.
    """
    try:
        program = find_module(target, args) if module else find_script(target, args)
    except CannotRun as error:
        print(f"gradlint: {error}", file=sys.stderr)
        return 2
    gathering = gather(output_dir)
    gathering.begin()
    with (
        drawing.of(gathering).watch() as report,
        children(report, gathering),
        terminated(lambda: _tell(report, gathering, telling, -signal.SIGTERM)),
    ):
        code = _execute(program, report)
        if code:
            report.interrupt()
        with postponed():
            found = _tell(report, gathering, telling, code)
    if code == -signal.SIGINT:
        die_of(signal.SIGINT)
    return code or int(_fails(found, fail_on))


def _execute(program: Program, report: Report) -> int:
    """Run the program to its end; return its exit code, minus the signal's number after Ctrl-C."""
    try:
        program.run()
    except SystemExit as leaving:
        return _exit_code(leaving)
    except BaseException as error:  # noqa: BLE001 (Python, too, shows whatever a program raises)
        sys.stdout.flush()
        report.explain(error)
        _without_our_frames(error)
        sys.excepthook(type(error), error, error.__traceback__)
        return -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _exit_code(leaving: SystemExit) -> int:
    """Return the code with which Python would end; a message goes to stderr, as there."""
    match leaving.code:
        case None:
            return 0
        case int(code):
            return code
        case message:
            print(message, file=sys.stderr)
            return 1


def _without_our_frames(error: BaseException | None) -> None:
    """Take gradlint's frames out of the traceback of an error and of those that it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        error.__traceback__ = _clean(error.__traceback__)
        error = error.__cause__ or error.__context__


def _clean(trace: TracebackType | None) -> TracebackType | None:
    kept = []
    while trace is not None:
        if not is_ours(trace.tb_frame.f_code):
            kept.append(trace)
        trace = trace.tb_next
    below: TracebackType | None = None
    for each in reversed(kept):
        below = TracebackType(below, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return below


def _tell(report: Report, gathering: Gathering, telling: Telling, code: int) -> Sequence[Diagnostic]:
    """Write the report, once the program's own output is out; return what it says, nothing where another rank does.

    `code` is how the program ended: if it was killed, there is no time for its source, nor for its children.
    """
    report.finish()
    sys.stdout.flush()
    if not gathering.first:
        report.draw()
    known = _known(report, gathering, code)
    if known is None:
        return ()
    recordings = _recordings(gathering)
    gathering.clear()
    found = _confirmed(known, telling) if code >= 0 else known.found
    report.draw(recordings, found)
    with _opened(telling.output_file) as stream:
        show(found, known.failure, stream, telling.output_format, always=telling.output_file is not None)
    return found


def _confirmed(known: Record, telling: Telling) -> Sequence[Diagnostic]:
    """Return the findings with what else is known of the program; a failure there costs the run nothing."""
    if telling.confirm is None:
        return known.found
    try:
        return telling.confirm(known)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is ours, not the user's)
        print(f"gradlint: the source that ran is not read: {type(error).__name__}: {error}", file=sys.stderr)
        return known.found


def _known(report: Report, gathering: Gathering, code: int) -> Record | None:
    """Return what all processes saw, None where another process tells; if they cannot be read, what this one saw."""
    own = report.record(gathering.rank, ended=code == 0)
    if not report.is_here:
        return None
    try:
        gathered = gathering.gather(own, at_work if code >= 0 else lambda: False)
    except (OSError, ValueError) as error:
        print(f"gradlint: the records of the processes cannot be gathered: {error}", file=sys.stderr)
        gathered = [own]
    return None if gathered is None else combined(gathered)


def _recordings(gathering: Gathering) -> list[Recording]:
    """Return what other ranks recorded, nothing if it cannot be read."""
    try:
        return gathering.recordings()
    except (OSError, ValueError) as error:
        print(f"gradlint: the recordings of other ranks cannot be read: {error}", file=sys.stderr)
        return []


@contextlib.contextmanager
def _opened(output_file: str | None) -> Iterator[TextIO]:
    if output_file is None:
        yield sys.stderr
        return
    with open(output_file, "w", encoding="utf-8") as stream:
        yield stream


def _fails(found: Sequence[Diagnostic], fail_on: str | None) -> bool:
    seen = (diagnostic for diagnostic in found if diagnostic.side is Side.RUNTIME)
    return fail_on is not None and any(diagnostic.severity in _FAILING[fail_on] for diagnostic in seen)
