"""The command `gradlint`, and `python -m gradlint`."""

from __future__ import annotations

import gc


def main() -> None:
    """Run the command line, without a search for cyclic garbage: there is none but what `gradlint run` lets a program make."""
    gc.disable()
    from gradlint.cli import main as command

    command(prog_name="gradlint")


if __name__ == "__main__":
    main()
