"""`gradlint check`: the source is read, and what is found is written, or mended.

Must not know the other commands.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import linecache
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import click

from gradlint.cli import common
from gradlint.cli.common import Undone, opened
from gradlint.data import NamedTuple
from gradlint.diagnostics import Severity
from gradlint.garbage import collector_paused
from gradlint.reporters import WITH_FIXES, render, source_lines

if TYPE_CHECKING:
    from gradlint.config import Settings
    from gradlint.static.fixes.mending import Outcome
    from gradlint.static.report import Report

_STDIN = "-"


class _Asked(NamedTuple):
    """What the command line asks for."""

    paths: tuple[str, ...]
    output_format: str
    output_file: str | None
    select: tuple[str, ...]
    ignore: tuple[str, ...]
    extend_select: tuple[str, ...]
    preview: bool
    exit_zero: bool
    statistics: bool
    fix: bool
    diff: bool
    unsafe_fixes: bool
    force_exclude: bool
    stdin_filename: str
    jobs: int
    no_cache: bool

    def settings(self) -> Settings:
        """Return the settings of the project; raises Undone if they cannot be read."""
        from gradlint.config import SettingsError, find_settings

        start = self.stdin_filename if self.paths[0] == _STDIN else self.paths[0]
        try:
            return find_settings(start).changed(self.select, self.ignore, self.extend_select, preview=self.preview)
        except SettingsError as error:
            raise Undone(str(error)) from error

    def lines(self, stdin: bytes | None) -> Callable[[str], Sequence[str]]:
        """Return who knows the lines of the files that are checked."""
        if stdin is None:
            return source_lines
        text = stdin.decode("utf-8", "replace")
        return lambda where: source_lines(where, {self.stdin_filename: text})


def _codes(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Split each of `values` at its commas."""
    return tuple(code.strip() for value in values for code in value.split(",") if code.strip())


@click.command()
@click.argument("paths", nargs=-1)
@common.output_format
@common.output_file
@click.option("--select", multiple=True, callback=_codes, help="Report these rules only (codes or prefixes).")
@click.option("--ignore", multiple=True, callback=_codes, help="Do not report these rules.")
@click.option("--extend-select", multiple=True, callback=_codes, help="Report these rules too.")
@click.option("--preview", is_flag=True, help="Report the rules that are still in preview, too.")
@click.option("--exit-zero", is_flag=True, help="Exit with 0 even if there are findings.")
@click.option("--statistics", is_flag=True, help="Show how often each rule is found, not where.")
@click.option("--fix", is_flag=True, help="Apply the fixes that cannot change what correct code does.")
@click.option("--diff", is_flag=True, help="Show what --fix would do; exit with 1 if that is anything.")
@click.option("--unsafe-fixes", is_flag=True, help="Let --fix and --diff use the other fixes, too.")
@click.option("--force-exclude", is_flag=True, help="Let `exclude` apply to files that are named, too.")
@click.option("--stdin-filename", default="<stdin>", help="The name of what is read from `-`.")
@click.option("--jobs", "-j", type=click.IntRange(0), default=0, help="How many processes share many files (0: all).")
@click.option("--no-cache", is_flag=True, help="Neither use nor keep results of other runs.")
@collector_paused()
def check(paths: tuple[str, ...], **options: Any) -> None:
    """Check Python files and the Python files below folders; `-` reads stdin."""
    atexit.register(gc.freeze)  # What is left in the end goes with the process: Python need not look for cycles in it.
    asked = _Asked(paths or (".",), **options)
    if asked.fix and not asked.diff and _STDIN in asked.paths:
        raise click.UsageError("stdin cannot be fixed in place: use `--diff`")
    settings = replace(asked.settings(), fixes=asked.fix or asked.diff or asked.output_format in WITH_FIXES)
    stdin = sys.stdin.buffer.read() if _STDIN in asked.paths else None
    report = _checked(asked, settings, stdin)
    fixed = None
    if asked.fix or asked.diff:
        outcome = _mended(asked, settings, report, stdin)
        report, fixed = outcome.report, outcome.fixed
    _write(asked, report, asked.lines(stdin), fixed)
    _end(report, asked.exit_zero)


def _checked(asked: _Asked, settings: Settings, stdin: bytes | None) -> Report:
    named = [path for path in asked.paths if path != _STDIN]
    cache = checked = None
    if not asked.no_cache:
        from gradlint.static.sources import reuse
        from gradlint.static.sources.cache import Cache, default_folder

        cache = Cache(default_folder())
        checked = reuse.recall(cache, reuse.Keys(settings).of_run(named, force_exclude=asked.force_exclude))
    if checked is None:
        from gradlint.static.runs import check_paths

        with _progress() as progress:
            checked = check_paths(
                named, settings, force_exclude=asked.force_exclude, cache=cache, progress=progress, jobs=asked.jobs
            )
    if stdin is None:
        return checked
    from gradlint.static.engine import check_bytes, report

    return report([*checked.diagnostics, *check_bytes(stdin, asked.stdin_filename, settings)], checked.files + 1)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """Give something that shows a bar on a terminal once the work has taken a second."""
    if not sys.stderr.isatty():
        yield None
        return
    began, shown = time.monotonic(), contextlib.ExitStack()
    bars: list[Any] = []

    def tell(done: int, of: int) -> None:
        if not bars and time.monotonic() - began > 1:
            bars.append(shown.enter_context(click.progressbar(length=of, label="Checking", file=sys.stderr)))
        if bars:
            bars[0].update(done - bars[0].pos)

    with shown:
        yield tell


def _mended(asked: _Asked, settings: Settings, report: Report, stdin: bytes | None) -> Outcome:
    """Apply the fixes, or show them and end."""
    from gradlint.static.fixes.mending import mend_report

    texts = {asked.stdin_filename: stdin}
    outcome = mend_report(report, settings, unsafe=asked.unsafe_fixes, write=not asked.diff, texts=texts)
    if asked.diff:
        _show_diff(outcome, asked.output_file)
    linecache.checkcache()
    return outcome


def _show_diff(outcome: Outcome, output_file: str | None) -> NoReturn:
    with opened(output_file) as stream:
        stream.write(outcome.diff)
    click.echo(f"Would fix {outcome.fixed}; {len(outcome.report.diagnostics)} left.", err=True)
    sys.exit(2 if outcome.report.failed else 1 if outcome.fixed else 0)


def _write(asked: _Asked, report: Report, lines: Callable[[str], Sequence[str]], fixed: int | None) -> None:
    from gradlint.reporters.summary import statistics

    with opened(asked.output_file) as stream:
        if asked.statistics:
            statistics(report.diagnostics, stream, asked.output_format)
        else:
            render(report.diagnostics, stream, asked.output_format, files=report.files, lines=lines, fixed=fixed)
    if fixed is not None and (asked.statistics or asked.output_format == "json"):
        click.echo(f"Fixed {fixed}; {len(report.diagnostics)} left.", err=True)


def _end(report: Report, exit_zero: bool) -> NoReturn:
    from gradlint.reporters.summary import plural

    if not report.files:
        click.echo("warning: no Python files to check in what was named", err=True)
    if report.failed:
        click.echo(f"error: {plural(report.failed, 'file')} could not be checked (GL000)", err=True)
    gating = any(found.severity is not Severity.INFO for found in report.diagnostics)
    sys.exit(2 if report.failed else 1 if gating and not exit_zero else 0)
