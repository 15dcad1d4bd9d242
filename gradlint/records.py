"""What one process of a run saw, as a file: written when the process ends, read by whoever merges.

Knows plain data and JSON; must not know torch, nor how records are merged.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import os
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from gradlint.data import dataclass
from gradlint.diagnostics import Diagnostic, Location

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Sums:
    """The parameters of a replica after a step: of each, the sum and the sum of magnitudes."""

    step: int
    place: Location
    values: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Replica:
    """What one rank saw of a model that all ranks of `group` hold alike.

    The `index`-th such model of its group has the same place in the records of all its ranks. `names` are those of the
    parameters that were summed up, `place` is that of the last step, `unsynced` whether every backward pass that fed
    the first step had the exchange of gradients switched off, `joined` whether ranks may end early.
    """

    name: str
    rank: int
    group: tuple[int, ...]
    index: int
    names: tuple[str, ...]
    steps: int
    place: Location
    unsynced: bool
    joined: bool
    sums: tuple[Sums, ...]


@dataclass(frozen=True, slots=True)
class Reached:
    """What of the user's `files` is known to have run: `rows` with events, and first rows of functions, by file."""

    files: tuple[str, ...] = ()
    rows: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    functions: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """What one process saw; `rank` is None outside of distributed training, `ended` tells whether it ended by itself."""

    rank: int | None
    ended: bool
    steps: int
    found: tuple[Diagnostic, ...]
    replicas: tuple[Replica, ...] = ()
    reached: Reached = Reached()
    failure: str = ""


def make(folder: Path) -> None:
    """Make a folder for records, if it is not there; raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def write(record: Record, folder: Path, name: str) -> None:
    """Write a record into `folder`, whole or not at all; raises OSError, above all if the folder is not there."""
    unfinished = folder / f".{name}.{os.getpid()}"
    unfinished.write_text(json.dumps(encode(record)), encoding="utf-8")
    unfinished.replace(folder / f"{name}.json")


def read(file: Path) -> Record:
    """Return the record in a file; raises OSError, and ValueError if it holds something else."""
    try:
        return decode(Record, json.loads(file.read_text(encoding="utf-8")))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is no record of a run") from error


def files(folder: Path) -> list[Path]:
    """Return the records in a folder."""
    return sorted(folder.glob("*.json"))


def encode(value: Any) -> Any:
    """Return a dataclass as what `json.dumps` takes, for `decode` to read."""
    if dataclasses.is_dataclass(value):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [encode(each) for each in value]
    return {key: encode(each) for key, each in value.items()} if isinstance(value, dict) else value


def decode(kind: type[_T], data: Any) -> _T:
    """Return the `kind` (a dataclass) that `encode` and JSON have made into `data`."""
    return typing.cast("_T", _decode(kind, data))


def _decode(kind: Any, data: Any) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return None if data is None else _decode(args[0], data)
    if origin is tuple:
        return tuple(_decode(args[0], each) for each in data)
    if origin is dict:
        return {key: _decode(args[1], value) for key, value in data.items()}
    is_record = dataclasses.is_dataclass(kind)
    return kind(**dict(_fields(kind, data))) if is_record else kind(data)


def _fields(kind: Any, data: Any) -> Iterator[tuple[str, Any]]:
    for name, hint in _hints(kind).items():
        yield name, _decode(hint, data[name])


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)
