"""The static side: reads source, never runs it and never imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradlint.static.engine import check_source
    from gradlint.static.report import Report
    from gradlint.static.runs import check_paths

__all__ = ["Report", "check_paths", "check_source"]

_HOMES = {"Report": "report", "check_paths": "runs", "check_source": "engine"}


def __getattr__(name: str) -> Any:
    """Load the analysis when it is asked for: a run whose result is known already does without."""
    if name not in _HOMES:
        raise AttributeError(f"module 'gradlint.static' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"gradlint.static.{_HOMES[name]}"), name)
