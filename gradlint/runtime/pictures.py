"""What is to be drawn of a watched run, and where to: recorded only if there is anything.

Knows the recorder and the reporters; must not know what is found.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TextIO

from gradlint.diagnostics import Diagnostic
from gradlint.runtime.progress import Progress
from gradlint.runtime.recording import Recorder
from gradlint.timeline import Recording, told

Path = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Wishes:
    """The files of the page, the trace and the recording itself, and the stream of the text (None: not wanted)."""

    html: Path | None = None
    trace: Path | None = None
    record: Path | None = None
    timeline: TextIO | None = None

    def __bool__(self) -> bool:
        return any(each is not None for each in (self.html, self.trace, self.record, self.timeline))


class Pictures:
    """The recording of a run, until it is drawn."""

    def __init__(self, wishes: Wishes) -> None:
        self._wishes = wishes
        self._progress = Progress(sys.stderr if wishes else None)
        self._recorder = Recorder(self._progress.tick) if wishes else None
        self.recording: Recording | None = None

    def install(self, stack: ExitStack) -> None:
        """Begin to record, if anything is wanted."""
        if self._recorder is not None:
            stack.callback(self._progress.end)
            self._recorder.install(stack)

    def draw(
        self,
        findings: Sequence[Diagnostic],
        others: Sequence[Recording] = (),
        report: Sequence[Diagnostic] = (),
    ) -> None:
        """Draw what is wanted, once, with the `others` beside it, in the words of the `report`.

        What cannot be drawn costs a line, never the run.
        """
        recorder = self._recorder
        if recorder is None or self.recording is not None:
            return
        recorder.ended()
        self._progress.end()
        self.recording = recorder.recording(findings)
        if recorder.guard.failure is not None:
            _complain(f"recording ended early by an error of gradlint's own: {recorder.guard.failure!r}")
        try:
            _draw(self._wishes, told((self.recording, *others), report))
        except Exception as error:  # noqa: BLE001 (the run is over, and its end is the user's)
            _complain(f"the run could not be drawn: {error!r}")


def _draw(wishes: Wishes, recordings: Sequence[Recording]) -> None:
    from gradlint.reporters import html, recorded, timeline, trace

    if wishes.timeline is not None:
        timeline.render(recordings, wishes.timeline)
    for path, render in ((wishes.html, html.render), (wishes.trace, trace.render), (wishes.record, recorded.render)):
        if path is not None:
            _write(_own(path, recordings[0]), recordings, render)


def _write(path: str, recordings: Sequence[Recording], render: Callable[[Sequence[Recording], TextIO], None]) -> None:
    try:
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as stream:
            render(recordings, stream)
    except OSError as error:
        _complain(f"{path} cannot be written: {error.strerror}")


def _own(path: Path, recording: Recording) -> str:
    """Return the file of this process: of several ranks all but the first one put their number into the name."""
    stem, suffix = os.path.splitext(os.fspath(path))
    return f"{stem}.rank{recording.rank}{suffix}" if recording.rank else f"{stem}{suffix}"


def _complain(what: str) -> None:
    print(f"gradlint: {what}", file=sys.stderr)
