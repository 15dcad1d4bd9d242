"""Losses, data and seeds (GL9xx)."""

from __future__ import annotations

from collections.abc import Mapping

from gradlint.wordings.wording import Wording

WORDINGS: Mapping[str, Wording] = {
    "GL905": Wording(
        "`{subject} = {value}` replaces an attribute and seeds nothing: the run stays random",
        "call the function: `{call}({value})`",
    ),
}
