"""Runs a script or a module as Python would, and watches it.

The program gets its own `__main__`, arguments and path; its output, exit code and traceback stay its own. The way is
coverage.py's: `runpy.run_path` would swap `__main__` back, and so break pickling and exit handlers.
Knows programs and how they end; must not know what is found in them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType, TracebackType
from typing import TextIO

from gradlint.diagnostics import Diagnostic, Severity
from gradlint.runtime import Report, show, watch
from gradlint.runtime.program import CannotRun, Program, find_module, find_script
from gradlint.runtime.sites import is_ours

_FAILING = {"error": (Severity.ERROR,), "warning": (Severity.ERROR, Severity.WARNING), "info": tuple(Severity)}


def run_command(
    target: str,
    args: Sequence[str],
    *,
    module: bool = False,
    fail_on: str | None = None,
    output_format: str = "full",
    output_file: str | None = None,
    html: str | None = None,
    trace: str | None = None,
    record: str | None = None,
    timeline: bool = False,
) -> int:
    """Run a script (or a module) under watch, report when it is over, however it ends, and return the exit code.

    The code is the program's own, 2 if it could not be started; with `fail_on` (a severity) it is 1 if the program
    succeeded but a finding is at least that severe. After Ctrl-C the process ends by that signal, as Python does.
    The report goes to `output_file`, else to stderr: stdout is the program's. `html`, `trace` and `record` are files for
    pictures of the run; `timeline` shows one on stderr.
    """
    try:
        program = find_module(target, args) if module else find_script(target, args)
    except CannotRun as error:
        print(f"gradlint: {error}", file=sys.stderr)
        return 2
    pictures = watch(output=None, html=html, trace=trace, record=record, timeline=sys.stderr if timeline else False)
    with pictures as report, _terminated(lambda: _tell(report, output_format, output_file)):
        code = _execute(program, report)
        if code:
            report.interrupt()
    _tell(report, output_format, output_file)
    if code == -signal.SIGINT:
        _die_of(signal.SIGINT)
    return code or int(_fails(report.diagnostics, fail_on))


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


@contextlib.contextmanager
def _terminated(tell: Callable[[], None]) -> Iterator[None]:
    """On SIGTERM, tell what was found and then end as if nobody had listened; only where nobody else does."""
    process = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() == process:
            tell()
        _die_of(number)

    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if ours and signal.getsignal(signal.SIGTERM) is end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _die_of(number: int) -> None:
    """End this process by a signal, so that whoever started it sees which."""
    sys.stdout.flush()
    sys.stderr.flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _tell(report: Report, output_format: str, output_file: str | None) -> None:
    """Write the report, once the program's own output is out."""
    report.finish()
    sys.stdout.flush()
    report.draw()
    with _opened(output_file) as stream:
        show(report, stream, output_format, always=output_file is not None)


@contextlib.contextmanager
def _opened(output_file: str | None) -> Iterator[TextIO]:
    if output_file is None:
        yield sys.stderr
        return
    with open(output_file, "w", encoding="utf-8") as stream:
        yield stream


def _fails(found: Sequence[Diagnostic], fail_on: str | None) -> bool:
    return fail_on is not None and any(diagnostic.severity in _FAILING[fail_on] for diagnostic in found)
