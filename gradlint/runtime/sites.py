"""Where in the user's source something happened, and what the user calls it.

Knows frames and code objects; must not know torch, events or rules. A place is computed once
per instruction and kept, so that asking again costs two dictionary look-ups.
"""

from __future__ import annotations

import enum
import linecache
import os
import site
import sys
import sysconfig
from collections.abc import Iterator
from itertools import islice
from types import CodeType, FrameType
from typing import Protocol, TypeVar

from gradlint.diagnostics import Location
from gradlint.records import Reached


class Origin(enum.Enum):
    """Who wrote a piece of code, as far as a report is concerned."""

    USER = "user"
    LIBRARY = "library"
    MACHINERY = "machinery"  # torch and gradlint: never worth showing


_USER, _MACHINERY = Origin.USER, Origin.MACHINERY
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_LIBRARIES = tuple(
    sorted(
        {
            os.path.abspath(folder) + os.sep
            for folder in (
                *sysconfig.get_paths().values(),
                *site.getsitepackages(),
                site.getusersitepackages(),
                os.path.dirname(os.__file__),
            )
            if folder not in (sys.prefix, sys.base_prefix)
        }
    )
)
# Also of another environment, which a path file or PYTHONPATH brought in.
_PACKAGES = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))
NOWHERE = Location("<unknown>", 1)

# Keyed by id, because code objects hash by content, slowly; the values keep the objects alive, so that no id is reused.
_origins: dict[int, tuple[CodeType, Origin]] = {}
_places: dict[tuple[int, int], tuple[CodeType, Location]] = {}


def origin_of(code: CodeType) -> Origin:
    """Return who wrote `code`."""
    known = _origins.get(id(code))
    if known is None:
        known = _origins[id(code)] = (code, Origin.MACHINERY if is_ours(code) else _judge(code.co_filename))
    return known[1]


def is_ours(code: CodeType) -> bool:
    """Tell whether `code` is gradlint's own."""
    return os.path.abspath(code.co_filename).startswith(_OURS) and code.co_filename.endswith(".py")


def _judge(filename: str) -> Origin:
    if filename.startswith("<frozen"):
        return Origin.MACHINERY
    if filename.startswith("<"):
        return Origin.USER
    path = os.path.abspath(filename)
    torch = sys.modules.get("torch")
    if torch is not None and torch.__file__ and path.startswith(os.path.dirname(torch.__file__) + os.sep):
        return Origin.MACHINERY
    packaged = path.startswith(_LIBRARIES) or any(folder in path for folder in _PACKAGES)
    return Origin.LIBRARY if packaged else Origin.USER


def frames(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield `frame` and its callers, innermost first."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def shadows_others(frame: FrameType) -> bool:
    """Tell whether a rank whose data have ended under `Join` only keeps up with the others (`frame` is torch's, of a step)."""
    caller = frame.f_back
    return caller is not None and caller.f_code.co_name == "main_hook"


def user_frames(frame: FrameType | None, most: int) -> Iterator[FrameType]:
    """Yield the nearest frames of the user's, innermost first, `most` of them at most."""
    return islice((each for each in frames(frame) if origin_of(each.f_code) is _USER), most)


class _Called(Protocol):
    caller: int


_C = TypeVar("_C", bound=_Called)


def still_running(calls: list[_C], frame: FrameType) -> list[_C]:
    """Return the calls whose callers (ids of frames) are around `frame`, which calls now; one that raised is taken off."""
    if calls:
        around = {id(each) for each in frames(frame.f_back)}
        calls[:] = [call for call in calls if call.caller in around]
    return calls


def user_frame(frame: FrameType | None) -> FrameType | None:
    """Return the nearest frame of the user's, else the nearest one that is neither torch's nor gradlint's."""
    nearest, origins, user, machinery = None, _origins, _USER, _MACHINERY  # a member of an enum takes its time
    while frame is not None:
        known = origins.get(id(frame.f_code))
        origin = known[1] if known else origin_of(frame.f_code)
        if origin is user:
            return frame
        if nearest is None and origin is not machinery:
            nearest = frame
        frame = frame.f_back
    return nearest


def place_of(frame: FrameType | None) -> Location:
    """Return the place of the call that `frame` is in; equal places of one instruction are one object."""
    if frame is None:
        return NOWHERE
    known = _places.get((id(frame.f_code), frame.f_lasti))
    if known is not None:
        return known[1]
    for caller in frames(frame):
        origin_of(caller.f_code)
    return locate(frame.f_code, frame.f_lasti)


def locate(code: CodeType, instruction: int) -> Location:
    """Return the place of the instruction at byte `instruction` of `code`."""
    key = (id(code), instruction)
    known = _places.get(key)
    if known is None:
        known = _places[key] = (code, _resolve(code, instruction))
    return known[1]


def _resolve(code: CodeType, instruction: int) -> Location:
    if sys.version_info >= (3, 11):
        span = next(islice(code.co_positions(), max(instruction, 0) // 2, None), None)
        if span and span[0]:
            row, end_row, column, end_column = span
            if end_row is None or column is None or end_column is None:
                return Location(code.co_filename, row or 1)
            return Location(code.co_filename, row or 1, column + 1, end_row, end_column + 1)
    rows = [row for start, end, row in code.co_lines() if row and start <= max(instruction, 0) < end]
    return Location(code.co_filename, rows[0] if rows else code.co_firstlineno)


def reached() -> Reached:
    """Return what of the user's files is known to have run: where events were seen, and all who called that."""
    rows: dict[str, set[int]] = {}
    functions: dict[str, set[int]] = {}
    for _, place in list(_places.values()):
        rows.setdefault(place.filename, set()).add(place.row)
    for code, origin in list(_origins.values()):
        if origin is Origin.USER:
            functions.setdefault(code.co_filename, set()).add(code.co_firstlineno)
    return Reached(tuple(_files()), _sorted(rows), _sorted(functions))


def _files() -> Iterator[str]:
    """Yield the files of the modules that are loaded from the folder of the program, or from the current one."""
    homes = tuple(os.path.join(home, "") for folder in (*sys.path[:1], os.curdir) if (home := _absolute(folder)))
    for module in list(sys.modules.values()):
        filename = getattr(module, "__dict__", {}).get("__file__")  # a lazy module must not notice
        if isinstance(filename, str) and filename.endswith(".py"):
            path = _absolute(filename)
            if path and path.startswith(homes) and _judge(path) is Origin.USER and not path.startswith(_OURS):
                yield path


def _sorted(known: dict[str, set[int]]) -> dict[str, tuple[int, ...]]:
    return {filename: tuple(sorted(rows)) for filename, rows in known.items() if not filename.startswith("<")}


def name_of(value: object, frame: FrameType | None) -> str:
    """Return what the user calls `value`: a variable of `frame`, an attribute of its `self`, else the class's name.

    Where only a library holds `value`, it is what the user calls its wrapper, or an attribute of what holds it.
    """
    if frame is not None:
        for names in (_direct, _indirect):
            # No further than it takes: to read a frame's variables may keep them alive.
            for scope, prefix in _scopes(frame):
                for name in names(value, scope):
                    return prefix + name
    return type(value).__name__


def _direct(value: object, scope: dict[str, object]) -> Iterator[str]:
    """Yield the names of `value` itself."""
    yield from (name for name, bound in scope.items() if bound is value and not name.startswith("_"))


def _indirect(value: object, scope: dict[str, object]) -> Iterator[str]:
    """Yield the names of what wraps `value`, then the attributes that hold it or its wrapper."""
    named = {name: bound for name, bound in scope.items() if not name.startswith("_")}
    yield from (name for name, bound in named.items() if _wraps(bound, value))
    for name, bound in named.items():
        for attribute in ("optimizer", "lr_scheduler"):
            held = _attributes(bound).get(attribute)
            if held is not None and (held is value or _wraps(held, value)):
                yield f"{name}.{attribute}"


def _wraps(wrapper: object, value: object) -> bool:
    """Tell whether `wrapper` stands for `value`: it holds it, and can be used like it."""
    held = _attributes(wrapper)
    if not any(held.get(name) is value for name in ("optimizer", "_optimizer", "scheduler")):
        return False
    return all(
        hasattr(type(wrapper), name) for name in ("step", "zero_grad", "get_last_lr") if hasattr(type(value), name)
    )


def _attributes(value: object) -> dict[str, object]:
    """Return the attributes that an object has of its own; no property is touched."""
    try:
        return object.__getattribute__(value, "__dict__") if not isinstance(value, type) else {}
    except AttributeError:
        return {}


def _scopes(frame: FrameType) -> Iterator[tuple[dict[str, object], str]]:
    """Yield the names that the user could have used in `frame`, nearest first."""
    for caller in user_frames(frame, 3):
        yield dict(caller.f_locals), ""
        owner = caller.f_locals.get("self")
        if owner is not None and hasattr(owner, "__dict__"):
            own = vars(owner)
            parts = own.get("_modules")  # where a module keeps what is assigned to it
            held = {**own, **parts} if isinstance(parts, dict) else own
            yield {name: value for name, value in held.items() if isinstance(name, str)}, "self."
    yield dict(frame.f_globals), ""


def text_at(place: Location) -> str:
    """Return the source text of a place of one row, "" if it cannot be read."""
    line = linecache.getline(place.filename, place.row)
    if place.end_row != place.row:
        return ""
    return line.encode()[place.column - 1 : place.end_column - 1].decode(errors="replace")


def _absolute(path: str) -> str | None:
    """Return an absolute path, None if it is relative to a working directory that is gone."""
    try:
        return os.path.abspath(path)
    except OSError:
        return None
