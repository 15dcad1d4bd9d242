"""What a check reports, light enough to be loaded without the analysis."""

from __future__ import annotations

from gradlint.data import dataclass
from gradlint.diagnostics import Diagnostic


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, in order of place; `files` were looked at, `failed` of them could not be checked."""

    diagnostics: tuple[Diagnostic, ...]
    files: int
    failed: int
