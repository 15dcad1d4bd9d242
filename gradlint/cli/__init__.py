"""The command line: the only place that prints and decides exit codes.

Exit codes: 0 nothing found, 1 findings, 2 work left undone. Each command imports what it needs when it runs, so that
`gradlint rule` stays light and `gradlint check` never imports torch.
"""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from gradlint import __version__
from gradlint.cli import common
from gradlint.cli.checking import check
from gradlint.cli.common import Undone, opened
from gradlint.reporters import render

if TYPE_CHECKING:
    from gradlint.diagnostics import Diagnostic
    from gradlint.records import Record

_PATH = click.Path(dir_okay=False)
_FOLDER = click.option(
    "--output-dir", type=click.Path(file_okay=False), help="Keep there what each process saw, for `gradlint report`."
)


class _CheckByDefault(click.Group):
    """A group in which `gradlint path/` means `gradlint check path/`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {*self.commands, *(name for option in self.get_params(ctx) for name in option.opts)}
        return super().parse_args(ctx, args if not args or args[0] in own else ["check", *args])


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


main.add_command(check)


@main.command(context_settings={"allow_interspersed_args": False})
@click.option("-m", "module", is_flag=True, help="SCRIPT is the name of a module, as in `python -m`.")
@click.option("--fail-on", type=click.Choice(("error", "warning")), help="Exit with 1 if the run did such a thing.")
@click.option("--output-format", type=click.Choice(("full", "json")), default="full", show_default=True)
@common.output_file
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
    script: str,
    args: tuple[str, ...],
    **pictures: Any,
) -> None:
    """Run SCRIPT with ARGS and report what its training does wrong.

    Options of gradlint stand before SCRIPT; all that follows belongs to the script.
    """
    if find_spec("torch") is None:
        raise Undone("watching a run needs torch, which is not installed: pip install 'torch-gradlint[runtime]'")
    try:
        from gradlint.runtime.runner import Drawing, Telling, run_command
    except ImportError as error:
        raise Undone(str(error)) from error
    telling = Telling(output_format, output_file, None if no_lint else _confirmed)
    drawing = Drawing(**pictures)
    gc.enable()  # The program is to find it as it would without us.
    sys.exit(
        run_command(
            script, args, module=module, fail_on=fail_on, output_dir=output_dir, telling=telling, drawing=drawing
        )
    )


def _confirmed(known: Record) -> Sequence[Diagnostic]:
    from gradlint.confirmation import confirm  # The program has ended: now is the time to load what reads source.

    return confirm(known)


@main.command("report")
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False))
@common.output_format
@common.output_file
def merge(folders: tuple[str, ...], output_format: str, output_file: str | None) -> None:
    """Merge what the processes of a run left in FOLDERS (see `gradlint run --output-dir`) into one report."""
    from pathlib import Path

    from gradlint import records
    from gradlint.merging import combined

    try:
        known = [records.read(file) for folder in folders for file in records.files(Path(folder))]
    except (OSError, ValueError) as error:
        raise Undone(str(error)) from error
    if not known:
        raise Undone(f"there are no records of a run in {', '.join(folders)}")
    found = combined(known).found
    with opened(output_file) as stream:
        render(found, stream, output_format)
    sys.exit(int(bool(found)))


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--output-format", type=click.Choice(("full", "json")), default="full", show_default=True)
@common.output_file
def events(file: str, output_format: str, output_file: str | None) -> None:
    """Show what is understood of FILE: the events of its loops, and the states that they lead to, line by line."""
    from gradlint.config import SettingsError, find_settings
    from gradlint.reporters.story import render as render_story
    from gradlint.static.sources.reading import Unreadable
    from gradlint.static.story.narration import read_story

    try:
        story = read_story(file, find_settings(file))
    except (SettingsError, Unreadable) as error:
        raise Undone(f"{file}: {error}") from error
    with opened(output_file) as stream:
        render_story(story, stream, output_format)


@main.command()
def clean() -> None:
    """Delete the results that were kept of earlier runs."""
    from gradlint.static.sources.cache import Cache, default_folder

    folder = default_folder()
    try:
        existed = Cache(folder).clear()
    except OSError as error:
        raise Undone(f"{folder} cannot be cleaned: {error.strerror}") from error
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
