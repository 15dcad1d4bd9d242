"""The recordings of a run as they are, one JSON object a line and rank, for whoever draws or merges them later."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

from gradlint.recordings import from_json, to_json
from gradlint.timeline import Recording


def render(recordings: Sequence[Recording], stream: TextIO) -> None:
    """Write each recording as a line."""
    for recording in recordings:
        json.dump(to_json(recording), stream, allow_nan=False, separators=(",", ":"))
        stream.write("\n")


def read(lines: Iterable[str]) -> Iterator[Recording]:
    """Yield the recordings that `render` wrote; raises ValueError if it was not `render`."""
    for line in lines:
        yield from_json(json.loads(line))
