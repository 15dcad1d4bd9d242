"""The command `gradlint`, and `python -m gradlint`."""

from __future__ import annotations

from gradlint.garbage import collector_paused


def main() -> None:
    """Run the command line."""
    with collector_paused():  # Modules are no garbage.
        from gradlint.cli import main as command
    command(prog_name="gradlint")


if __name__ == "__main__":
    main()
