"""What the commands share: options, where findings are written, and how work is given up.

Must not know any command.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TextIO

import click

from gradlint.reporters import FORMATS


class Undone(click.ClickException):
    """One clear line about work that could not be done."""

    exit_code = 2


output_format = click.option(
    "--output-format", type=click.Choice(FORMATS), default="full", show_default=True, help="How findings are shown."
)
output_file = click.option(
    "--output-file", type=click.Path(dir_okay=False), help="Write the findings there, not to stdout."
)


@contextlib.contextmanager
def opened(file: str | None) -> Iterator[TextIO]:
    """Give the stream on which findings are written; raises Undone if the file cannot be."""
    if file is None:
        yield sys.stdout
        return
    try:
        with open(file, "w", encoding="utf-8") as stream:
            yield stream
    except OSError as error:
        raise Undone(f"{file} cannot be written: {error.strerror}") from error
