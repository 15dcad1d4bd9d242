"""gradlint inside other tools: one module for each, which knows that tool and `gradlint.watch`, and nothing else of the kind.

What they share is here. Importing this package must load neither torch nor a tool.
"""

from __future__ import annotations

import atexit
import io
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradlint.diagnostics import Diagnostic
    from gradlint.runtime import Report


def text(found: Sequence[Diagnostic], output_format: str = "full") -> str:
    """Return findings as a report without colours, for whoever logs strings."""
    from gradlint.reporters import render

    stream = io.StringIO()
    render(found, stream, output_format)
    return stream.getvalue().rstrip("\n")


class Session:
    """A watch that begins in one call of a framework and ends in another; `tell` is given the findings, if there are any.

    A framework may never make the second call, for example after an error: then the next beginning, or the end of the
    program, ends the watch.
    """

    def __init__(self, tell: Callable[[str], object]) -> None:
        self.report: Report | None = None
        self._tell = tell
        self._watching: ExitStack | None = None

    def begin(self) -> None:
        """Watch from now on."""
        import gradlint

        self.interrupt()
        self._watching = ExitStack()
        self.report = self._watching.enter_context(gradlint.watch(output=None))
        atexit.register(self.interrupt)

    def interrupt(self, error: BaseException | None = None) -> None:
        """Watch no longer: the training has ended before its time, perhaps by `error`."""
        if self._watching is not None and self.report is not None:
            self.report.interrupt()
            if error is not None:
                self.report.explain(error)
            self.end()

    def end(self) -> None:
        """Watch no longer, and tell what was found."""
        watching, self._watching = self._watching, None
        if watching is None or self.report is None:
            return
        atexit.unregister(self.interrupt)
        watching.close()
        if self.report.is_here and self.report.diagnostics:
            self._tell(text(self.report.diagnostics))

    def __getstate__(self) -> dict[str, object]:
        """A copy, in a checkpoint or in another process, watches nothing."""
        return {"report": None, "_tell": self._tell, "_watching": None}
