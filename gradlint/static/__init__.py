"""The static side: reads source, never runs it and never imports torch."""

from __future__ import annotations

from gradlint.static.engine import Report, check_paths, check_source

__all__ = ["Report", "check_paths", "check_source"]
