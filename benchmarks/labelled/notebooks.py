"""Where a labelled place of a notebook is: lists name rows of a cell, or of the notebook's JSON text, but no cells."""

from __future__ import annotations

import json
import re

from labelled.labels import Loop

_TRAINS = re.compile(r"\.(backward|step|eval|train)\(")


def code_cells(text: str) -> dict[int, list[str]]:
    """Return the lines of each code cell by its number: all cells count, from 1."""
    return {
        number: _lines(cell.get("source", ""))
        for number, cell in enumerate(json.loads(text).get("cells", []), start=1)
        if cell.get("cell_type") == "code"
    }


def cells_of(loop: Loop, text: str) -> frozenset[int]:
    """Return the cells that a loop may be in: the one that its note names, else those with its function in its rows.

    A loop of no function is in the cells in whose rows something is trained or evaluated.
    """
    named = re.search(r"\bcell (\d+)", loop.note)
    if named:
        return frozenset([int(named[1]) + 1])
    first, last = loop.rows
    name = loop.function.rpartition(".")[2]
    words = _TRAINS if name == "<module>" else re.compile(rf"\bdef {re.escape(name)}\b")
    return frozenset(
        number for number, lines in code_cells(text).items() if words.search("\n".join(lines[first - 1 : last]))
    )


def places_of(rows: tuple[int, ...], text: str) -> list[tuple[int, int]]:
    """Return the cells, and the rows in them, that stand in these rows of a notebook's text."""
    wanted = [
        (number, row, line.rstrip("\n"))
        for number, lines in code_cells(text).items()
        for row, line in enumerate(lines, 1)
    ]
    written = text.splitlines()
    places, at = [], 0
    for number, row, line in wanted:
        spellings = {json.dumps(line + end, ensure_ascii=ascii_) for end in ("", "\n") for ascii_ in (True, False)}
        found = next((n for n in range(at, len(written)) if written[n].strip().rstrip(",") in spellings), None)
        if found is None:
            continue
        at = found + 1
        if at in rows:
            places.append((number, row))
    return places


def _lines(source: str | list[str]) -> list[str]:
    return (source if isinstance(source, str) else "".join(source)).splitlines()
