"""Changes of statements, as the building of a fix asks for them; `rewriting` carries them out.

It must not know rules, nor libcst: what is mended by an edit of text needs none.
"""

from __future__ import annotations

from typing import TypeAlias

from gradlint.data import dataclass
from gradlint.diagnostics import Location


@dataclass(frozen=True, slots=True)
class Insert:
    """Put the statement `code` before the statement at `place`, or behind it."""

    code: str
    place: Location
    behind: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """Put the simple statement at `place` before the one at `to` (or behind), with its comments: beside and right above it."""

    place: Location
    to: Location
    behind: bool = False


@dataclass(frozen=True, slots=True)
class Enter:
    """Turn the expression statement at `place` into a `with` block around the rest of its block."""

    place: Location


@dataclass(frozen=True, slots=True)
class Wrap:
    """Make the statement at `place` the body of a block that begins with `code`, such as `with torch.no_grad():`."""

    code: str
    place: Location


Change: TypeAlias = Insert | Move | Enter | Wrap
