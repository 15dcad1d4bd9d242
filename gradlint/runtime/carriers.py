"""Who carries a graph from one iteration into another: the variable, attribute or collection that holds one of its tensors.

Works after torch has raised. Knows frames, graph nodes and sources; must not know rules.
"""

from __future__ import annotations

import ast
import functools
import gc
import inspect
import linecache
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from types import CellType, FrameType, FunctionType, GeneratorType
from typing import Any, NamedTuple, cast

from torch import Tensor
from torch.nn import Module

from gradlint.diagnostics import Location
from gradlint.runtime.bytecode import loop_around, stores_in
from gradlint.runtime.graph import bindings, nodes, parts_of, tensors_in
from gradlint.runtime.sites import Origin, origin_of, text_at, user_frames
from gradlint.runtime.sources import parsed
from gradlint.runtime.values import value_of

_FRAMES = 4
_NODES = 100_000
_UNBOUND = CellType()
_COLLECTIONS = (list, dict, set, deque)
_TABLES = ("_parameters", "_buffers", "_modules")
_FILLS = re.compile(r"\] *=(?!=)|\.(append|appendleft|add|extend|insert|setdefault|update)\(")


@dataclass(frozen=True, slots=True)
class Carrier:
    """What holds a tensor of an old graph: its name and value, and whether it gets another one in each turn of the loop.

    What is `kept` was computed when it was asked for the first time.
    """

    name: str
    value: object
    renewed: bool
    kept: bool = False

    @property
    def collects(self) -> bool:
        """Whether it is a collection, in which the tensor is one of many."""
        return isinstance(self.value, _COLLECTIONS)


class _Held(NamedTuple):
    """A tensor with a graph, and by which name of which frame it is reached: the name of itself, or of what it is in."""

    where: FrameType
    name: str
    value: object
    tensor: Tensor


def carrier_of(entry: Any, made: Location | None, used: Location | None, frame: FrameType | None) -> Carrier | None:
    """Return who holds the tensor that the node `entry` made, or did one iteration ago, as seen from a frame of the user's.

    One that has been replaced since reaches the node from what it holds now, or holds something of the kind; and it is named
    where the node is `used`.
    """
    held = list(_held(frame))
    for where, name, value, tensor in held:
        if tensor.grad_fn is entry:
            return Carrier(name, value, _is_renewed(where, name, value, made), _is_kept_once(where, name, made))
    heirs = [each for each in held if _is_kept(each) and entry in set(islice(nodes([each.tensor.grad_fn]), _NODES))]
    said, kind = _words(used), type(entry)
    alike = [each for each in heirs if type(each.tensor.grad_fn) is kind]
    oldest = sorted((each for each in heirs if _last_of(each.name) in said), key=_age)
    others = [each for each in held if type(each.tensor.grad_fn) is kind and _last_of(each.name) in said]
    return next((Carrier(each.name, each.value, renewed=True) for each in [*alike, *oldest, *others]), None)


def _last_of(name: str) -> str:
    return name.rpartition(".")[2]


def _age(held: _Held) -> int:
    node: Any = held.tensor.grad_fn
    return int(node._sequence_nr())


def _is_kept(held: _Held) -> bool:
    """Whether a name gets another tensor in each turn: a variable of the loop's, or whatever is no variable of the function's."""
    return held.name not in held.where.f_locals or is_stored_in_loop(held.where, held.name)


def _words(place: Location | None) -> set[str]:
    return set(re.findall(r"\w+", text_at(place) or "")) if place is not None else set()


def _held(frame: FrameType | None) -> Iterator[_Held]:
    """Yield the tensors with a graph that the user's frames can name, nearest first, then those of what is suspended."""
    for where in chain(user_frames(frame, _FRAMES), _suspended()):
        for name, value in chain(bindings(where), _of_modules(where), _of_closures(where), _of_records(where)):
            if not name.endswith(_TABLES):
                yield from (_Held(where, name, value, tensor) for tensor in tensors_in(value))


def _suspended() -> Iterator[FrameType]:
    """Yield the frames of the user's generators that wait to be asked for more."""
    for each in gc.get_objects():
        if type(each) is GeneratorType and each.gi_frame is not None and origin_of(each.gi_code) is Origin.USER:
            yield each.gi_frame


def _of_modules(frame: FrameType) -> Iterator[tuple[str, object]]:
    """Yield the attributes and buffers of the modules that a frame names, and of the modules within them."""
    for path, part in parts_of(frame):
        buffers = vars(part).get("_buffers") or {}
        yield from ((f"{path}.{key}", each) for key, each in chain(vars(part).items(), buffers.items()))


def _of_records(frame: FrameType) -> Iterator[tuple[str, object]]:
    """Yield the attributes of the objects that are attributes themselves, such as a state of several tensors."""
    for name, value in bindings(frame):
        if not isinstance(value, type | Module | Tensor) and not name.startswith("_"):
            fields = getattr(type(value), "__slots__", ()) if not hasattr(value, "__dict__") else vars(value)
            yield from ((f"{name}.{key}", getattr(value, key, None)) for key in list(fields) if isinstance(key, str))


def _of_closures(frame: FrameType) -> Iterator[tuple[str, object]]:
    """Yield what the user's functions among the names of a frame remember, and the globals of their files."""
    files = {id(frame.f_globals)}
    for value in list(frame.f_locals.values()):
        if isinstance(value, FunctionType) and origin_of(value.__code__) is Origin.USER:
            if id(value.__globals__) not in files:
                files.add(id(value.__globals__))
                yield from list(value.__globals__.items())
            cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
            yield from ((name, cell.cell_contents) for name, cell in cells if cell != _UNBOUND)


def _is_renewed(frame: FrameType, name: str, value: object, made: Location | None) -> bool:
    owner, _, _ = name.rpartition(".")
    if owner:
        return not _made_with(frame.f_locals.get(owner), made)
    if name in frame.f_locals and not isinstance(value, _COLLECTIONS):
        return is_stored_in_loop(frame, name)
    inside = is_in_loop(frame, made)
    return _fills(made) if inside is None else inside


def _made_with(owner: object, made: Location | None) -> bool:
    """Whether a place is in the method that makes an object of this kind: what it keeps from there is no state."""
    code = getattr(type(owner).__init__, "__code__", None)
    if code is None or made is None or code.co_filename != made.filename:
        return False
    return made.row in {row for _, _, row in code.co_lines()}


def _is_kept_once(frame: FrameType, name: str, made: Location | None) -> bool:
    """Whether an attribute is a cached property, or is assigned only where it is not there yet."""
    first, *rest = name.split(".")
    if made is None or not rest:
        return False
    owner = functools.reduce(lambda node, part: ast.Attribute(node, part), rest[:-1], cast(ast.expr, ast.Name(first)))
    if isinstance(inspect.getattr_static(type(value_of(owner, frame)), rest[-1], None), functools.cached_property):
        return True
    tree, key = parsed(linecache.getlines(made.filename)), re.escape(rest[-1])
    around = (each for each in (ast.walk(tree) if tree is not None else ()) if isinstance(each, ast.If))
    tests = (ast.unparse(each.test) for each in around if each.lineno < made.row <= (each.body[-1].end_lineno or 0))
    return any(re.search(rf"\b{key}\b is None|not hasattr\(.*\b{key}\b", test) for test in tests)


def _fills(made: Location | None) -> bool:
    """Whether the line that makes a tensor puts it into a collection."""
    return made is not None and _FILLS.search(linecache.getline(made.filename, made.row)) is not None


def is_stored_in_loop(frame: FrameType | None, name: str) -> bool:
    """Tell whether the innermost loop around what `frame` is doing assigns `name`."""
    if frame is None:
        return False
    loop = loop_around(frame.f_code, frame.f_lasti)
    return loop is not None and stores_in(frame.f_code, name, loop)


def is_in_loop(frame: FrameType | None, made: Location | None) -> bool | None:
    """Tell whether the loop around what `frame` is doing spans the line that made a node; None if nobody knows."""
    if frame is None or made is None or made.filename != frame.f_code.co_filename:
        return None
    loop = loop_around(frame.f_code, frame.f_lasti)
    lines = [(start, row) for start, _, row in frame.f_code.co_lines() if row is not None]
    inside = [row for start, row in lines if loop and start in loop]
    if made.row not in {row for _, row in lines}:  # made by another function
        return None
    return not inside or min(inside) <= made.row <= max(inside)
