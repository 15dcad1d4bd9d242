"""Counts in words: the line that ends a report for people, and the table of `--statistics`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TextIO

from gradlint.diagnostics import Diagnostic, Severity
from gradlint.rulebook import rule

_WORDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "hint"}


def summary(found: Sequence[Diagnostic], files: int | None, fixed: int | None = None) -> str:
    """Return one sentence about `found` in `files` checked files (None: not counted), after `fixed` fixes if any were."""
    if fixed is not None:
        return f"Fixed {fixed}; {len(found)} left."
    where = "" if files is None else f" in {plural(files, 'file')}"
    if not found:
        return f"Found nothing{where}."
    counts = Counter(item.severity for item in found)
    parts = [plural(counts[severity], word) for severity, word in _WORDS.items() if counts[severity]]
    return f"Found {_listed(parts)}{where}."


def statistics(found: Sequence[Diagnostic], stream: TextIO, output_format: str) -> None:
    """Write how often each rule was found, most frequent first."""
    counts = Counter(item.code for item in found).most_common()
    if output_format == "json":
        import json  # Elsewhere only `plural` is wanted.

        rows = [
            {"code": code, "name": rule(code).name, "severity": rule(code).severity.value, "count": count}
            for code, count in counts
        ]
        json.dump(rows, stream, indent=2)
        stream.write("\n")
        return
    stream.writelines(
        f"{count:>6}  {code}  {rule(code).severity.value:<7}  {rule(code).name}\n" for code, count in counts
    )


def placed(item: Diagnostic) -> str:
    """Return what a finding says where nothing else of it is shown: its message, its help, and its place in a notebook."""
    place = f"cell {item.location.cell}, line {item.location.row}: " if item.location.cell else ""
    return f"{place}{item.message}" + (f"\n{item.help}" if item.help else "")


def plural(count: int, word: str) -> str:
    """Return `count` of `word`, in English."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def named(ranks: Sequence[int]) -> str:
    """Return the names of ranks, as in `ranks [0, 1]` and `ranks [0-63, 70]`."""
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    runs: list[list[int]] = []
    for rank in ranks:
        if runs and rank == runs[-1][-1] + 1:
            runs[-1].append(rank)
        else:
            runs.append([rank])
    parts = (f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)
    return f"ranks [{', '.join(parts)}]"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
