"""From a broken rule to a diagnostic: the words of `gradlint.wordings` with the user's own names in them."""

from __future__ import annotations

from collections.abc import Iterable

from gradlint.diagnostics import Confidence, Diagnostic, Location, Related, Side
from gradlint.rulebook import rule
from gradlint.typestate import Marks
from gradlint.wordings import WORDINGS


def compose(
    code: str,
    side: Side,
    place: Location,
    marks: Iterable[tuple[str, Location]] | Marks = (),
    *,
    confidence: Confidence = Confidence.CERTAIN,
    **names: str,
) -> Diagnostic:
    """Return the diagnostic of rule `code` at `place`.

    `marks` are the places that explain it, by role; roles without words are left out. `names`
    fill the braces of the wording.
    """
    wording, known = WORDINGS[code], rule(code)
    related = tuple(
        Related(location, _told(wording.roles[role].format_map(names), location == place))
        for role, location in marks
        if role in wording.roles
    )
    return Diagnostic(
        code=code,
        name=known.name,
        severity=known.severity,
        confidence=confidence,
        side=side,
        message=wording.message.format_map(names),
        location=place,
        related=related,
        help=wording.help.format_map(names),
    )


def _told(text: str, same: bool) -> str:
    """Return the words of a related place; the finding's own place can explain it only by what it did before."""
    return f"{text}, an iteration earlier" if same else text
