"""The words of GL304, by what is known of the layers of the model: nobody is told that dropout is off where none may be.

It knows modules and words; who is trained in evaluation mode, and why, is for others to find.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Location, Severity, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.facts.layers import Sensitivity
from gradlint.static.facts.sensitivity import Makers
from gradlint.static.flow.tree import Uid
from gradlint.wordings.modes import IS_OFF, MAY_BE_OFF


def left_off(
    analysis: Analysis, module: Uid | None, place: Location, marks: Iterable[tuple[str, Location]], name: str, when: str
) -> Diagnostic:
    """Return GL304 of a module (None: one that only the text names), a warning where its layers are not in sight."""
    makers = analysis.kept(Makers)
    sensitivity = makers.in_sight() if module is None else makers.sensitivity(module)
    seen = sensitivity is Sensitivity.YES
    effect = IS_OFF if seen else MAY_BE_OFF
    found = compose("GL304", Side.STATIC, place, marks, subject=name, when=when, effect=effect)
    return found if seen else replace(found, severity=Severity.WARNING)
