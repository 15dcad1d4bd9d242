"""Mixed precision and clipping (GL6xx)."""

from __future__ import annotations

from collections.abc import Mapping

from gradlint.wordings.wording import Wording

WORDINGS: Mapping[str, Wording] = {}
