"""The words of every rule, shared by both sides: what happened, what happened before, what to do.

One module per family of codes.
"""

from __future__ import annotations

from collections.abc import Mapping

from gradlint.wordings import (
    closures,
    construction,
    files,
    graphs,
    losses,
    modes,
    scaling,
    schedulers,
    updates,
    windows,
)
from gradlint.wordings.wording import Wording

__all__ = ["WORDINGS", "Wording"]

_FAMILIES = (files, updates, schedulers, modes, closures, graphs, scaling, windows, construction, losses)

WORDINGS: Mapping[str, Wording] = {code: said for family in _FAMILIES for code, said in family.WORDINGS.items()}
