"""What is said of files and comments themselves (GL0xx)."""

from __future__ import annotations

from collections.abc import Mapping

from gradlint.wordings.wording import Wording

WORDINGS: Mapping[str, Wording] = {
    "GL000": Wording("{what}", "{remedy}"),
    "GL001": Wording("{what}", "{remedy}"),
}
