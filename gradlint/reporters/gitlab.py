"""The format `gitlab`: a Code Quality report, which GitLab shows in merge requests.

Source: https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, TextIO

from gradlint.diagnostics import Diagnostic, Severity
from gradlint.reporters import Context
from gradlint.reporters.summary import placed

_SEVERITIES = {Severity.ERROR: "critical", Severity.WARNING: "major", Severity.INFO: "info"}


def render(found: Sequence[Diagnostic], stream: TextIO, context: Context) -> None:
    """Write `found` as one JSON list."""
    seen: Counter[tuple[str, str, str]] = Counter()
    json.dump([_finding(item, seen) for item in found], stream, indent=2)
    stream.write("\n")


def _finding(item: Diagnostic, seen: Counter[tuple[str, str, str]]) -> dict[str, Any]:
    place = item.location
    begin = 1 if place.cell else place.row  # Rows of a cell are none of the file.
    return {
        "description": placed(item),
        "check_name": item.code,
        "fingerprint": _fingerprint(item, seen),
        "severity": _SEVERITIES[item.severity],
        "location": {"path": place.filename, "lines": {"begin": begin}},
    }


def _fingerprint(item: Diagnostic, seen: Counter[tuple[str, str, str]]) -> str:
    """Return what names a finding wherever it moves in its file: the same words for the n-th time."""
    key = (item.location.filename, item.code, item.message)
    seen[key] += 1
    return hashlib.sha256("\0".join((*key, str(seen[key]))).encode()).hexdigest()
