"""The command line: the only place that prints and decides exit codes.

Exit codes: 0 nothing found, 1 findings, 2 work left undone. Each command imports what it needs when it runs, so that
`gradlint rule` stays light and `gradlint check` never imports torch.
"""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

from gradlint import __version__
from gradlint.diagnostics import Severity
from gradlint.reporters import FORMATS, render, source_lines

if TYPE_CHECKING:
    from gradlint.config import Settings
    from gradlint.diagnostics import Diagnostic
    from gradlint.records import Record
    from gradlint.static.mending import Outcome
    from gradlint.static.report import Report

_STDIN = "-"


class _CheckByDefault(click.Group):
    """A group in which `gradlint path/` means `gradlint check path/`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {*self.commands, *(name for option in self.get_params(ctx) for name in option.opts)}
        return super().parse_args(ctx, args if not args or args[0] in own else ["check", *args])


def _codes(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Split each of `values` at its commas."""
    return tuple(code.strip() for value in values for code in value.split(",") if code.strip())


class _Undone(click.ClickException):
    """One clear line about work that could not be done."""

    exit_code = 2


_FORMAT = click.option(
    "--output-format", type=click.Choice(FORMATS), default="full", show_default=True, help="How findings are shown."
)
_FOLDER = click.option(
    "--output-dir", type=click.Path(file_okay=False), help="Keep there what each process saw, for `gradlint report`."
)
_PATH = click.Path(dir_okay=False)
_FILE = click.option("--output-file", type=click.Path(dir_okay=False), help="Write the findings there, not to stdout.")


def _new_file(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return the path of a file that will be written after hours: now is the time to say that it cannot be."""
    folder = None if value is None else os.path.dirname(os.path.abspath(value))
    if folder is not None and not os.access(folder, os.W_OK):
        raise click.BadParameter(f"{folder} is no folder that can be written to")
    # The program may change the current folder.
    return None if value is None else os.path.abspath(value)


@click.group(cls=_CheckByDefault, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="gradlint", message="%(prog)s %(version)s")
def main() -> None:
    """Find the mistakes that make a PyTorch training run wrong without stopping it.

    `gradlint PATH...` reads the source (the same as `gradlint check PATH...`); `gradlint run SCRIPT` watches the run.
    Exit codes: 0 nothing found, 1 findings, 2 work left undone.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # Source may hold what the terminal cannot show.


@main.command()
@click.argument("paths", nargs=-1)
@_FORMAT
@_FILE
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
def check(
    paths: tuple[str, ...],
    output_format: str,
    output_file: str | None,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    extend_select: tuple[str, ...],
    preview: bool,
    exit_zero: bool,
    statistics: bool,
    fix: bool,
    diff: bool,
    unsafe_fixes: bool,
    force_exclude: bool,
    stdin_filename: str,
    jobs: int,
    no_cache: bool,
) -> None:
    """Check Python files and the Python files below folders; `-` reads stdin."""
    from gradlint.config import SettingsError, find_settings
    from gradlint.reporters.summary import statistics as write_statistics

    paths = paths or (".",)
    if fix and not diff and _STDIN in paths:
        raise click.UsageError("stdin cannot be fixed in place: use `--diff`")
    start = Path(stdin_filename if paths[0] == _STDIN else paths[0])
    try:
        settings = find_settings(start).changed(select, ignore, extend_select, preview=preview)
    except SettingsError as error:
        raise _Undone(str(error)) from error
    settings = replace(settings, fixes=fix or diff or output_format != "concise")
    stdin = sys.stdin.buffer.read() if _STDIN in paths else None
    report = _checked(paths, stdin, stdin_filename, settings, force_exclude, jobs, no_cache)
    fixed = None
    if fix or diff:
        from gradlint.static.mending import mend_report

        outcome = mend_report(report, settings, unsafe=unsafe_fixes, write=not diff, texts={stdin_filename: stdin})
        if diff:
            _show_diff(outcome, output_file)
        report, fixed = outcome.report, outcome.fixed
        linecache.checkcache()
    with _output(output_file) as stream:
        if statistics:
            write_statistics(report.diagnostics, stream, output_format)
        else:
            lines = _lines(stdin, stdin_filename)
            render(report.diagnostics, stream, output_format, files=report.files, lines=lines, fixed=fixed)
    if fixed is not None and (statistics or output_format == "json"):
        click.echo(f"Fixed {fixed}; {len(report.diagnostics)} left.", err=True)
    _end(report, exit_zero)


@main.command(context_settings={"allow_interspersed_args": False})
@click.option("-m", "module", is_flag=True, help="SCRIPT is the name of a module, as in `python -m`.")
@click.option("--fail-on", type=click.Choice(("error", "warning")), help="Exit with 1 if the run did such a thing.")
@click.option("--output-format", type=click.Choice(("full", "json")), default="full", show_default=True)
@_FILE
@_FOLDER
@click.option("--no-lint", is_flag=True, help="Do not read the source that ran.")
@click.option("--html", type=_PATH, callback=_new_file, help="Draw the run as a page there.")
@click.option("--trace", type=_PATH, callback=_new_file, help="Write the run there as a Chrome trace, for Perfetto.")
@click.option("--record", type=_PATH, callback=_new_file, help="Write the recording itself there, as JSON.")
@click.option("--timeline", is_flag=True, help="Show the kinds of iterations of the run, as text.")
@click.argument("script")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def run(
    module: bool,
    fail_on: str | None,
    output_format: str,
    output_file: str | None,
    output_dir: str | None,
    no_lint: bool,
    html: str | None,
    trace: str | None,
    record: str | None,
    timeline: bool,
    script: str,
    args: tuple[str, ...],
) -> None:
    """Run SCRIPT with ARGS and report what its training does wrong.

    Options of gradlint stand before SCRIPT; all that follows belongs to the script.
    """
    if find_spec("torch") is None:
        raise _Undone("watching a run needs torch, which is not installed: pip install 'torch-gradlint[runtime]'")
    from gradlint.runtime.runner import run_command

    code = run_command(
        script,
        args,
        module=module,
        fail_on=fail_on,
        output_format=output_format,
        output_file=output_file,
        html=html,
        trace=trace,
        record=record,
        timeline=timeline,
        output_dir=output_dir,
        confirm=None if no_lint else _confirmed,
    )
    sys.exit(code)


def _confirmed(known: Record) -> Sequence[Diagnostic]:
    from gradlint.confirmation import confirm  # The program has ended: now is the time to load what reads source.

    return confirm(known)


@main.command("report")
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False))
@_FORMAT
@_FILE
def merge(folders: tuple[str, ...], output_format: str, output_file: str | None) -> None:
    """Merge what the processes of a run left in FOLDERS (see `gradlint run --output-dir`) into one report."""
    from gradlint import records
    from gradlint.merging import combined

    try:
        known = [records.read(file) for folder in folders for file in records.files(Path(folder))]
    except (OSError, ValueError) as error:
        raise _Undone(str(error)) from error
    if not known:
        raise _Undone(f"there are no records of a run in {', '.join(folders)}")
    found = combined(known).found
    with _output(output_file) as stream:
        render(found, stream, output_format)
    sys.exit(int(bool(found)))


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--output-format", type=click.Choice(("full", "json")), default="full", show_default=True)
@_FILE
def events(file: str, output_format: str, output_file: str | None) -> None:
    """Show what is understood of FILE: the events of its loops, and the states that they lead to, line by line."""
    from gradlint.config import SettingsError, find_settings
    from gradlint.reporters.story import render as render_story
    from gradlint.static.narration import read_story
    from gradlint.static.reading import Unreadable

    try:
        story = read_story(file, find_settings(Path(file)))
    except (SettingsError, Unreadable) as error:
        raise _Undone(f"{file}: {error}") from error
    with _output(output_file) as stream:
        render_story(story, stream, output_format)


@main.command()
def clean() -> None:
    """Delete the results that were kept of earlier runs."""
    from gradlint.static.cache import Cache, default_folder

    folder = default_folder()
    try:
        existed = Cache(folder).clear()
    except OSError as error:
        raise _Undone(f"{folder} cannot be cleaned: {error.strerror}") from error
    click.echo(f"{'Deleted the cache' if existed else 'There is no cache'} in {folder}", err=True)


@main.command()
@click.argument("code", required=False)
@click.option("--all", "everything", is_flag=True, help="List all rules.")
def rule(code: str | None, everything: bool) -> None:
    """Print the page of the rule CODE (or of that name), or list all rules."""
    from gradlint.rulebook import nearest, rules

    if everything:
        for known in rules().values():
            sides = "+".join(sorted((side.value for side in known.sides), reverse=True))
            click.echo(f"{known.code}  {known.severity.value:<7}  {sides:<14}  {known.name}: {known.summary}")
        return
    if code is None:
        raise click.UsageError("name a rule, such as `gradlint rule GL101`, or list them with `gradlint rule --all`")
    found = next((known for known in rules().values() if code.upper() == known.code or code == known.name), None)
    if found is None:
        near = nearest(code)
        raise click.UsageError(f"there is no rule `{code}`{f'; did you mean `{near}`?' if near else ''}")
    click.echo(found.page, nl=False)


def _checked(
    paths: Sequence[str],
    stdin: bytes | None,
    stdin_filename: str,
    settings: Settings,
    force_exclude: bool,
    jobs: int,
    no_cache: bool,
) -> Report:
    named = [path for path in paths if path != _STDIN]
    cache = checked = None
    if not no_cache:
        from gradlint.static import reuse
        from gradlint.static.cache import Cache, default_folder

        cache = Cache(default_folder())
        checked = reuse.recall(cache, reuse.Keys(settings).of_run(named, force_exclude=force_exclude))
    if checked is None:
        from gradlint.static.runs import check_paths

        with _progress() as progress:
            checked = check_paths(
                named, settings, force_exclude=force_exclude, cache=cache, progress=progress, jobs=jobs
            )
    if stdin is None:
        return checked
    from gradlint.static.engine import check_bytes, report

    return report([*checked.diagnostics, *check_bytes(stdin, stdin_filename, settings)], checked.files + 1)


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


def _show_diff(outcome: Outcome, output_file: str | None) -> NoReturn:
    with _output(output_file) as stream:
        stream.write(outcome.diff)
    click.echo(f"Would fix {outcome.fixed}; {len(outcome.report.diagnostics)} left.", err=True)
    sys.exit(2 if outcome.report.failed else 1 if outcome.fixed else 0)


def _lines(stdin: bytes | None, stdin_filename: str) -> Callable[[str], Sequence[str]]:
    if stdin is None:
        return source_lines
    text = stdin.decode("utf-8", "replace")
    return lambda where: source_lines(where, {stdin_filename: text})


def _end(report: Report, exit_zero: bool) -> NoReturn:
    from gradlint.reporters.summary import plural

    if not report.files:
        click.echo("warning: no Python files to check in what was named", err=True)
    if report.failed:
        click.echo(f"error: {plural(report.failed, 'file')} could not be checked (GL000)", err=True)
    gating = any(found.severity is not Severity.INFO for found in report.diagnostics)
    sys.exit(2 if report.failed else 1 if gating and not exit_zero else 0)


@contextlib.contextmanager
def _output(file: str | None) -> Iterator[TextIO]:
    if file is None:
        yield sys.stdout
        return
    try:
        with open(file, "w", encoding="utf-8") as stream:
            yield stream
    except OSError as error:
        raise _Undone(f"{file} cannot be written: {error.strerror}") from error
