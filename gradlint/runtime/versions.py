"""Which torch the run-time side needs; others are refused before anything of theirs is replaced.

Older ones have no one place where all backward passes start. Must not know more of torch than its version.
"""

from __future__ import annotations

OLDEST = (2, 3)


def require(torch_version: str) -> None:
    """Raise ImportError unless runs of this torch can be watched."""
    major, minor = (int(part) for part in torch_version.split(".")[:2])
    if (major, minor) < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise ImportError(f"gradlint watches runs of torch {needed} and later, not of torch {torch_version}")
