"""gradlint finds the mistakes that make a PyTorch training run wrong without stopping it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradlint.runtime import watch
    from gradlint.runtime.audit import audit
    from gradlint.runtime.living import remembering
    from gradlint.static import check_paths, check_source

__version__ = "0.1.0"
__all__ = ["__version__", "audit", "check_paths", "check_source", "remembering", "watch"]

_HOMES = {
    "audit": "gradlint.runtime.audit",
    "check_paths": "gradlint.static",
    "check_source": "gradlint.static",
    "load_ipython_extension": "gradlint.integrations.notebook",
    "remembering": "gradlint.runtime.living",
    "unload_ipython_extension": "gradlint.integrations.notebook",
    "watch": "gradlint.runtime",
}


def __getattr__(name: str) -> Any:
    """Load the side that is asked for, and only that one: `gradlint` itself imports neither."""
    if name not in _HOMES:
        raise AttributeError(f"module 'gradlint' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
