"""A run as one page that needs nothing else: findings, kinds of iterations, lanes of events, learning rates, graphs.

Knows recordings and streams; must not know how a run is recorded. The page itself is `page.html`; it draws the lanes
and charts from the recordings, which are inside it as JSON.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TextIO

from gradlint import __version__
from gradlint.diagnostics import Diagnostic, Location
from gradlint.recordings import to_json
from gradlint.regex import regex
from gradlint.reporters import source_lines
from gradlint.reporters.signatures import notes, several, signature, spanned
from gradlint.reporters.story import MEANINGS
from gradlint.reporters.summary import plural
from gradlint.rulebook import rule
from gradlint.timeline import LETTERS, WORDS, Recording, usual

_ROWS = 20  # patterns shown for a rank
_TOKEN = regex(r"(\(*)([a-z])(.*)", re.DOTALL)
_KINDS = {letter: kind.value for kind, letter in LETTERS.items()}
_WORDS = {kind.value: word for kind, word in WORDS.items()}


def render(recordings: Sequence[Recording], stream: TextIO) -> None:
    """Write the page of all ranks of a run."""
    ranks = sorted(recordings, key=lambda recording: recording.rank)
    program = os.path.basename(ranks[0].program) or "run"
    parts = {
        "title": escape(f"{program} · gradlint"),
        "program": escape(program),
        "facts": "".join(f"<li>{escape(fact)}</li>" for fact in _facts(ranks)),
        "findings": "".join(_findings(ranks)),
        "patterns": "".join(_patterns(ranks)),
        "kinds": "".join(_legend_of_kinds(ranks)),
        "states": "".join(_legend_of_states(ranks)),
        "version": escape(__version__),
        "data": _data(ranks),
    }
    page = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    stream.write(re.sub(r"\{\{(\w+)\}\}", lambda hole: parts[hole[1]], page))


def _facts(ranks: Sequence[Recording]) -> Iterator[str]:
    first = ranks[0]
    yield plural(max(each.total for each in ranks), "iteration")
    if first.anchor:
        yield f"each up to a step of {first.anchor}"
    yield f"{max(each.duration for each in ranks):.1f} s"
    if len(ranks) > 1:
        yield f"{len(ranks)} ranks"


def _data(ranks: Sequence[Recording]) -> str:
    """Return the recordings as JSON that may stand in a script element."""
    rows = [{**to_json(each), "sources": []} for each in ranks]
    for row in rows:
        row["sources"] = [_source(Location(*place)) for _, _, *place in row["acts"]]
    data = {"ranks": rows, "words": _WORDS, "letters": {value: letter for letter, value in _KINDS.items()}}
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _source(place: Location) -> str:
    lines = source_lines(place.where)
    return lines[place.row - 1].strip()[:160] if place.row <= len(lines) else ""


# Findings ------------------------------------------------------------------------------------------


def _findings(ranks: Sequence[Recording]) -> Iterator[str]:
    """Yield a card for each finding; one that several ranks have names them."""
    found: dict[tuple[str, Location], list[tuple[int, int, Diagnostic]]] = {}
    for position, recording in enumerate(ranks):
        for index, finding in enumerate(recording.findings):
            found.setdefault((finding.code, finding.location), []).append((position, index, finding))
    if not found:
        yield '<p class="quiet">Nothing was found in this run.</p>'
    for same in found.values():
        position, index, finding = same[0]
        whose = [f"rank {ranks[each].rank}" for each, _, _ in same] if len(ranks) > 1 else []
        yield _finding(finding, f"{position}:{index}", whose)


def _finding(finding: Diagnostic, key: str, whose: list[str]) -> str:
    place = finding.location
    seen = f"seen {plural(finding.count, 'time')}" if finding.count else ""
    first = f"first at optimizer step {finding.iteration}" if finding.iteration else ""
    told = ", ".join(part for part in (seen, first, *whose) if part)
    url = rule(finding.code).url
    return (
        f'<article class="finding {finding.severity.value}" data-finding="{key}">'
        f'<a class="code" href="{escape(url)}">{escape(finding.code)}</a>'
        f"<div><p>{_prose(finding.message)}</p>{_place(place, '')}"
        f"{''.join(_place(each.location, each.text) for each in finding.related if each.location != place)}"
        f"{f'<p class=help>{_prose(finding.help)}</p>' if finding.help else ''}"
        f"{f'<p class=quiet>{escape(told)}</p>' if told else ''}</div>"
        f'<button type="button" class="show">show in lanes</button></article>'
    )


def _place(place: Location, text: str) -> str:
    where = f"{os.path.basename(place.where)}:{place.row}"
    note = f" <i>{_prose(text)}</i>" if text else ""
    return f'<p class="place" title="{escape(place.where)}"><b>{escape(where)}</b> <code>{escape(_source(place))}</code>{note}</p>'


def _prose(text: str) -> str:
    """Return text as HTML, with what stands in backquotes as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


# Patterns ------------------------------------------------------------------------------------------


def _patterns(ranks: Sequence[Recording]) -> Iterator[str]:
    """Yield a table for each rank; ranks that did the same share one."""
    alike: dict[tuple[tuple[str, int, int], ...], list[int]] = {}
    for position, recording in enumerate(ranks):
        alike.setdefault(_shapes(recording), []).append(position)
    for positions in alike.values():
        if len(ranks) > 1:
            names = ", ".join(str(ranks[position].rank) for position in positions)
            yield f"<h3>{'rank' if len(positions) == 1 else 'ranks'} {names}</h3>"
        yield from _table(ranks[positions[0]], positions[0])


def _shapes(recording: Recording) -> tuple[tuple[str, int, int], ...]:
    return tuple((signature(each), each.count, each.first) for each in recording.patterns)


def _table(recording: Recording, position: int) -> Iterator[str]:
    main = usual(recording.patterns)
    if main is None:
        yield '<p class="quiet">Nothing of a training loop was seen.</p>'
        return
    shown = sorted(recording.patterns, key=lambda each: -each.count)
    named = several(recording)
    yield '<table class="patterns"><thead><tr><th>count<th>iterations<th>what happens<th>note</tr></thead><tbody>'
    for pattern in shown[:_ROWS]:
        index = recording.patterns.index(pattern)
        share = 100 * pattern.count / max(recording.total, 1)
        noted = "".join(f"<div>{escape(note)}</div>" for note in notes(recording, pattern, main))
        yield (
            f'<tr data-pattern="{position}:{index}"><td class="count"><span style="width:{share:.1f}%"></span>'
            f"<b>{pattern.count}</b></td><td>{escape(spanned(pattern))}</td>"
            f"<td>{_chips(signature(pattern, named))}</td><td>{noted or '<i>usual</i>'}</td></tr>"
        )
    yield "</tbody></table>"
    if len(shown) > _ROWS:
        yield f'<p class="quiet">and {plural(len(shown) - _ROWS, "rarer kind")}</p>'


def _chips(text: str) -> str:
    return " ".join(_chip(token) for token in text.split(" "))


def _chip(token: str) -> str:
    """Return a letter of a signature as a chip; parentheses and counts stay outside of it."""
    matched = _TOKEN.fullmatch(token)
    if matched is None or matched[2] not in _KINDS:
        return escape(token)
    opening, letter, rest = matched.groups()
    name, closing, times = rest.partition(")")
    return f'{opening}<span class="chip k-{_KINDS[letter]}">{letter}{escape(name)}</span>{escape(closing + times)}'


# Legends -------------------------------------------------------------------------------------------


def _legend_of_kinds(ranks: Sequence[Recording]) -> Iterator[str]:
    used = {act.kind for recording in ranks for pattern in recording.patterns for act in pattern.acts}
    for kind, letter in LETTERS.items():
        if kind in used:
            yield f'<li><span class="chip k-{kind.value}">{letter}</span> {escape(WORDS[kind])}</li>'


def _legend_of_states(ranks: Sequence[Recording]) -> Iterator[str]:
    used = {
        state for each in ranks for iteration in each.iterations for event in iteration.events for state in event.states
    }
    for state, meaning in MEANINGS.items():
        if state in used:
            yield f'<li><span class="swatch s-{state}"></span> <b>{state}</b> {escape(meaning)}</li>'
