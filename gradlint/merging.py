"""One report from the records of many processes.

The same finding of several processes is one finding, with the ranks that made it; where ranks that should be alike are
not, that is a finding of its own. Knows records; must not know torch, nor where records come from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from gradlint.diagnostics import Diagnostic, Location
from gradlint.divergence import divergences
from gradlint.records import Reached, Record


def merge(records: Sequence[Record]) -> list[Diagnostic]:
    """Return the findings of all records, one for each rule and place, in the order of their places.

    `count` is that of the process that did it most often, `iteration` the earliest.
    """
    ranks = {record.rank for record in records if record.rank is not None}
    merged: dict[tuple[str, Location], Diagnostic] = {}
    for record in records:
        own = () if record.rank is None or len(ranks) < 2 else (record.rank,)
        for found in (dataclasses.replace(each, ranks=own) for each in record.found):
            known = merged.get((found.code, found.location))
            merged[found.code, found.location] = found if known is None else _united(known, found)
    for found in divergences(records):
        merged.setdefault((found.code, found.location), found)
    return sorted(merged.values(), key=lambda each: each.order)


def _united(one: Diagnostic, other: Diagnostic) -> Diagnostic:
    return dataclasses.replace(
        one,
        count=max(one.count, other.count),
        iteration=min(one.iteration, other.iteration),
        ranks=tuple(sorted({*one.ranks, *other.ranks})),
    )


def combined(records: Iterable[Record]) -> Record:
    """Return all records as if one process had seen it all; `steps` are those of the one with most of them."""
    known = list(records)
    return Record(
        rank=None,
        ended=all(record.ended for record in known),
        steps=max((record.steps for record in known), default=0),
        found=tuple(merge(known)),
        reached=_reached([record.reached for record in known]),
        failure=next((record.failure for record in known if record.failure), ""),
    )


def _reached(parts: Sequence[Reached]) -> Reached:
    files = tuple(sorted({file for part in parts for file in part.files}))
    return Reached(files, _joined([part.rows for part in parts]), _joined([part.functions for part in parts]))


def _joined(parts: Sequence[dict[str, tuple[int, ...]]]) -> dict[str, tuple[int, ...]]:
    names = {name for part in parts for name in part}
    return {name: tuple(sorted({row for part in parts for row in part.get(name, ())})) for name in sorted(names)}
