"""IPython and Jupyter: `%%gradlint` watches a cell, `%gradlint on` every cell from the next one on, until `%gradlint off`.

Findings come after the cell's output; places are called as IPython's own tracebacks call them. Knows IPython.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class

import gradlint
from gradlint.reporters import render, source_lines

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from gradlint.diagnostics import Diagnostic, Location
    from gradlint.runtime import Report

_FIRST_LINE = "# %%gradlint\n"  # so that rows are those of the cell that the user sees


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics: `%load_ext gradlint`."""
    magics = GradlintMagics(shell)
    shell.register_magics(magics)
    shell.events.register("pre_run_cell", magics.begin)
    shell.events.register("post_run_cell", magics.end)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics back: `%unload_ext gradlint`."""
    magics = shell.magics_manager.registry.pop("GradlintMagics")
    magics.close()
    shell.events.unregister("pre_run_cell", magics.begin)
    shell.events.unregister("post_run_cell", magics.end)
    for known in shell.magics_manager.magics.values():
        known.pop("gradlint", None)


@magics_class
class GradlintMagics(Magics):
    """The magics of one shell."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._on = False
        self._info: object = None  # of the cell that is watched because of `%gradlint on`
        self._report: Report | None = None
        self._watching = ExitStack()

    @line_cell_magic
    def gradlint(self, line: str, cell: str | None = None) -> None:
        """Watch a cell: `%%gradlint`; or all that follow: `%gradlint on`, `%gradlint off`."""
        words = {"on": True, "off": False}
        if cell is not None and not line.strip():
            self._watch(cell)
        elif cell is None and line.strip() in words:
            self._on = words[line.strip()]
        else:
            raise UsageError("use `%%gradlint` at the head of a cell, or `%gradlint on`, or `%gradlint off`")

    def _watch(self, cell: str) -> None:
        """Run a cell and show what is found, or that nothing is; a cell that is watched already is just run."""
        code = cell if cell.startswith("%%") else _FIRST_LINE + cell
        if self._report is not None:
            self.shell.run_cell(code)
            return
        with gradlint.watch(output=None) as report:
            _ended(report, self.shell.run_cell(code))
        self._show(report)

    def begin(self, info: object) -> None:
        """A cell is about to run."""
        if self._on and self._report is None:  # else it is a cell that a watched cell runs
            self._info, self._report = info, self._watching.enter_context(gradlint.watch(output=None))

    def end(self, result: Any) -> None:
        """A cell is over."""
        if self._report is not None and result.info is self._info:
            report, self._report = self._report, None
            _ended(report, result)
            self._watching.close()
            if report.diagnostics:
                self._show(report)

    def close(self) -> None:
        """Watch no longer."""
        self._on, self._report = False, None
        self._watching.close()

    def _show(self, report: Report) -> None:
        sys.stdout.flush()
        names = _Names(self.shell)
        render([names.rename(each) for each in report.diagnostics], sys.stdout, lines=names.lines)


class _Names:
    """What IPython calls its cells: "Cell In[3]", not the name of the file that there never was."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._compiler = shell.compile
        self._files: dict[str, str] = {}

    def rename(self, found: Diagnostic) -> Diagnostic:
        """Return a finding with the places in cells renamed."""
        related = tuple(dataclasses.replace(each, location=self._place(each.location)) for each in found.related)
        return dataclasses.replace(found, location=self._place(found.location), related=related)

    def _place(self, place: Location) -> Location:
        named = self._compiler.format_code_name(place.filename)
        if named is None:
            return place
        name = " ".join(named)
        self._files.setdefault(name, place.filename)
        return dataclasses.replace(place, filename=name)

    def lines(self, where: str) -> Sequence[str]:
        """Return the lines of a file or of a renamed cell."""
        return source_lines(self._files.get(where, where))


def _ended(report: Report, result: Any) -> None:
    """Tell `report` how a cell ended: IPython has shown an error, and raises it to nobody."""
    if result.error_in_exec is not None:
        report.interrupt()
        report.explain(result.error_in_exec)
