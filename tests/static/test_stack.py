"""Deep calls are made in memory that is already there: counted is what the kernel had to hand out, for time says nothing in a test."""

from __future__ import annotations

import sys

import pytest

from gradlint.static.stack import roomy

resource = pytest.importorskip("resource", reason="who counts page faults is Unix")


def _deep(levels: int) -> int:
    return _deep(levels - 1) + 1 if levels else 0


def _up_and_down() -> int:
    """Return how often the kernel handed out memory while calls went up and down over every border of a small chunk."""

    def faults() -> int:
        return int(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)

    _deep(500)
    before = faults()
    for levels in range(0, 500, 5):
        for _ in range(20):
            _deep(levels)
    return faults() - before


@pytest.mark.skipif(sys.version_info < (3, 11), reason="frames lay elsewhere")
def test_frames_find_room() -> None:
    assert _up_and_down() > 500
    assert roomy(_up_and_down)() < 100
