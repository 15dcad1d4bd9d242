"""Where the rules of others are announced: entry points of the group `gradlint.checks`.

It knows how packages are installed. `importlib.metadata` takes an eighth of the time of a short run to be loaded, and hardly
anybody has rules of his own: it is asked only where a package names the group.
"""

from __future__ import annotations

import functools
import os
import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_GROUP = "gradlint.checks"


@functools.cache
def third_party() -> tuple[EntryPoint, ...]:
    """Return where the rules of others are."""
    if not _is_elsewhere() and not any(map(_may_announce, sys.path)):
        return ()
    from importlib.metadata import entry_points

    return tuple(entry_points(group=_GROUP))


def _is_elsewhere() -> bool:
    """Whether somebody finds packages in another way than by the folders of `sys.path`."""
    return any(hasattr(finder, "find_distributions") for finder in sys.meta_path if finder is not PathFinder)


def _may_announce(path: str) -> bool:
    """Whether a package in a folder may have rules of its own."""
    if not os.path.isdir(path or "."):
        return os.path.exists(path)  # An archive: who knows.
    return path.endswith(".egg") or any(map(_names_group, _metadata(path or ".")))


def _metadata(folder: str) -> list[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return [os.path.join(folder, name) for name in names if name.lower().endswith((".dist-info", ".egg-info"))]


def _names_group(metadata: str) -> bool:
    try:
        with open(os.path.join(metadata, "entry_points.txt"), "rb") as file:
            return _GROUP.encode() in file.read()
    except OSError:
        return False
