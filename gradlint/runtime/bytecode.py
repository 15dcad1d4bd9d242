"""What the user's code around an event does, read from its bytecode: it is there even where the source is not.

Must not know torch or rules.
"""

from __future__ import annotations

import dis
import functools
import re
from collections.abc import Iterator
from types import CodeType, FrameType, FunctionType

_GROWING = ("append", "extend", "add", "appendleft", "insert", "update", "setdefault")


def rows(code: CodeType) -> dict[int, list[dis.Instruction]]:
    """Return the instructions of each row of `code`."""
    found: dict[int, list[dis.Instruction]] = {}
    starts = {start: row for start, _, row in code.co_lines() if row}
    row = code.co_firstlineno
    for instruction in dis.get_instructions(code):
        row = starts.get(instruction.offset, row)
        found.setdefault(row, []).append(instruction)
    return found


@functools.lru_cache(maxsize=256)
def loop_around(code: CodeType, instruction: int) -> range | None:
    """Return the instructions of the innermost loop of `code` around one of them."""
    return min((loop for loop in _loops(code) if instruction in loop), key=len, default=None)


def begins_with_loop(code: CodeType, instruction: int, row: int) -> bool:
    """Tell whether a row of `code` runs once for each run of the innermost loop around an instruction: in the loop around that one."""
    inner = loop_around(code, instruction)
    if inner is None:
        return False
    around = [loop for loop in _loops(code) if instruction in loop and len(loop) > len(inner)]
    offsets = [start for start, _, each in code.co_lines() if each == row]
    return any(start in loop and start not in inner for start in offsets for loop in around)


def _loops(code: CodeType) -> Iterator[range]:
    """Yield the loops: since Python 3.12 several jumps may lead back to where one begins."""
    ends: dict[int, int] = {}
    for each in dis.get_instructions(code):
        if "JUMP" in each.opname and isinstance(each.argval, int) and each.argval < each.offset:
            ends[each.argval] = each.offset + 1
    yield from (range(start, end) for start, end in ends.items())


def stores_in(code: CodeType, name: str, part: range) -> bool:
    """Tell whether a part of `code` assigns `name`."""
    return any(("STORE", name) in _uses(each) for each in dis.get_instructions(code) if each.offset in part)


def _uses(instruction: dis.Instruction) -> list[tuple[str, object]]:
    """Return what an instruction does to which names; one of Python 3.13 may do two things."""
    verbs = re.findall("LOAD|STORE|DELETE", instruction.opname)
    names = instruction.argval if isinstance(instruction.argval, tuple) else (instruction.argval,)
    return list(zip(verbs, names, strict=False))


def growth_of(code: CodeType, name: str, key: str = "") -> tuple[int | None, int | None]:
    """Return the first row of `code` that adds to `name` (by `+=`, `append` or the like) and the one that creates it.

    A row that adds under a `key` comes before others.
    """
    adds = apart = creates = None
    for row, instructions in sorted(rows(code).items()):
        uses = [use for each in instructions for use in _uses(each)]
        loads, stores = ("LOAD", name) in uses, ("STORE", name) in uses
        grows = stores or any(each.argval in _GROWING or each.opname == "STORE_SUBSCR" for each in instructions)
        if loads and grows:
            adds = adds or row
            apart = apart or (row if key and any(each.argval == key for each in instructions) else None)
        elif stores:
            creates = creates or row
    return apart or adds, creates


def names_between(code: CodeType, first: int, last: int) -> set[str]:
    """Return the names used between two rows of `code`, both excluded, with those of the functions made there."""
    names: set[str] = set()
    for row, instructions in rows(code).items():
        if first < row < last:
            for each in instructions:
                names |= _names(each.argval)
    return names


def names_of(frame: FrameType | None) -> set[str]:
    """Return the names of globals and attributes that the function of a frame uses, in what is nested in it too."""
    return _names(frame.f_code) if frame is not None else set()


def reads_gradients(frame: FrameType | None) -> bool:
    """Tell whether the function of a frame asks something for its `.grad`, be it in what is nested in it."""
    return frame is not None and _asks_for(frame.f_code, "grad")


def calls_reader_of_gradients(frame: FrameType | None) -> bool:
    """Tell whether one of the global functions that the function of a frame names asks something for its `.grad`."""
    called = (frame.f_globals.get(name) for name in names_of(frame)) if frame is not None else ()
    return any(_asks_for(each.__code__, "grad") for each in called if isinstance(each, FunctionType))


@functools.lru_cache(maxsize=256)
def _asks_for(code: CodeType, attribute: str) -> bool:
    """Tell whether `code` reads an attribute; what is called right away is no value, nor is `autograd.grad`."""
    before: object = None
    for each in dis.get_instructions(code):
        reads = each.opname == "LOAD_ATTR" and "NULL" not in each.argrepr
        if each.argval == attribute and reads and before != "autograd":
            return True
        before = each.argval
    return any(_asks_for(each, attribute) for each in code.co_consts if isinstance(each, CodeType))


def _names(value: object) -> set[str]:
    match value:
        case str():
            return {value}
        case CodeType():
            return set(value.co_names).union(*(_names(each) for each in value.co_consts if isinstance(each, CodeType)))
        case _:
            return set()
