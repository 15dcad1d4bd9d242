"""Modules, parameters and how optimizers are built (GL8xx)."""

from __future__ import annotations

from collections.abc import Mapping

from gradlint.wordings.wording import Wording

WORDINGS: Mapping[str, Wording] = {
    "GL803": Wording(
        "`{subject}` is a method: it is passed without being called",
        "add the parentheses: `{subject}()`",
    ),
    "GL804": Wording(
        "`{subject}` assigns modules before `super().__init__()` has run: torch raises AttributeError",
        "make `super().__init__()` the first statement of `__init__`",
        {"super": "it runs only here"},
    ),
}
