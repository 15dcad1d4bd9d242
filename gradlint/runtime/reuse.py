"""Why a backward pass failed: a graph that was freed before, or a tensor that was changed after it was saved.

Works after torch has raised, from what nodes tell for free: each carries the number at which it was made, so the
number at the start of an earlier backward pass separates what that pass could have freed from what is new.
Knows the graph and the ledger; must not know how torch is hooked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from types import FrameType
from typing import Any

from gradlint.diagnostics import Location
from gradlint.runtime.bytecode import loop_around, stores_in
from gradlint.runtime.graph import leaf, nodes, visible
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.lines import made_at
from gradlint.runtime.registry import Registry
from gradlint.runtime.sites import name_of

_REMEMBERED = 64
_NODES = 100_000
_FREED = "backward through the graph a second time"
_CHANGED = "modified by an inplace operation"


@dataclass(frozen=True, slots=True)
class _Carrier:
    """A variable through which an old graph was reached; `rebound`: it is assigned in the loop of the backward pass."""

    name: str
    rebound: bool


class Reuse:
    """Remembers the backward passes, and explains one that fails."""

    def __init__(self, ledger: Ledger, registry: Registry) -> None:
        self._ledger = ledger
        self._registry = registry
        # Where each backward pass was, and the number that the next node had when it began; a bare pair is the fastest.
        self.passes: deque[tuple[Location, int]] = deque(maxlen=_REMEMBERED)

    def failed(self, error: BaseException, roots: Sequence[Any], place: Location, frame: FrameType | None) -> None:
        """The backward pass that began last raised `error`."""
        message = str(error)
        heads = [root.grad_fn for root in roots if root.grad_fn is not None]
        if _CHANGED in message:
            self._explain_change(heads, place, frame)
        elif _FREED in message:
            self._explain_reuse(heads, place, frame)

    def _explain_reuse(self, heads: list[Any], place: Location, frame: FrameType | None) -> None:
        earlier = list(self.passes)[:-1]
        graph = [node for node in islice(nodes(heads), _NODES) if leaf(node) is None]
        looped = next((each for each in reversed(earlier) if each[0] == place), None)
        freed, began = looped or (earlier[-1] if earlier else (None, 0))
        old = [node for node in graph if node._sequence_nr() < began]
        entry = max(old, key=lambda node: node._sequence_nr(), default=None)
        made = made_at(entry) if entry is not None else None
        marks = [("freed", freed)] if freed is not None else []
        if looped is None or entry is None:
            shared = _shared(heads, graph, frame)
            made = made_at(shared) if shared is not None else made
            self._report("GL503", place, marks, made, "")
            return
        carrier = _carrier(entry, frame)
        inside = carrier.rebound if carrier is not None else _in_loop_with(frame, made)
        self._report("GL506" if inside else "GL504", place, marks, made, carrier.name if carrier else "a variable")

    def _report(
        self, code: str, place: Location, marks: list[tuple[str, Location]], made: Location | None, subject: str
    ) -> None:
        where = [("made", made)] if made is not None else []
        self._ledger.report(code, place, marks + where, iteration=self._iteration(), subject=subject)

    def _iteration(self) -> int:
        return max((watched.steps for watched in self._registry), default=0) + 1

    def _explain_change(self, heads: list[Any], place: Location, frame: FrameType | None) -> None:
        for node in islice(nodes(heads), _NODES):
            changed = _changed_tensor(node)
            if changed is None:
                continue
            made = made_at(node)
            marks = [("made", made)] if made is not None else []
            what, where = self._who_changed(changed, node, frame)
            if where is not None:
                marks.append(("changed", where))
            self._ledger.report("GL521", place, marks, iteration=self._iteration(), what=what)
            return

    def _who_changed(self, changed: Any, node: Any, frame: FrameType | None) -> tuple[str, Location | None]:
        """Return what was changed, in words, and where, if it is known."""
        saver = f"saved by {node.name()}"
        storage = changed.untyped_storage().data_ptr()
        for watched in self._registry:
            if any(parameter.untyped_storage().data_ptr() == storage for parameter in watched.parameters()):
                name = name_of(watched.optimizer, frame)
                return f"a parameter, {saver}, was updated by `{name}.step()` after this forward", watched.last_step
        aliases = [
            (tensor.grad_fn._sequence_nr(), name, tensor.grad_fn)
            for _, name, tensor in visible(frame)
            if tensor.untyped_storage().data_ptr() == storage and tensor.grad_fn is not None
        ]
        if not aliases:
            return f"a tensor {saver}", None
        _, name, newest = max(aliases, key=lambda alias: alias[0])
        return f"`{name}`, {saver}, by {newest.name()}", made_at(newest)


def _changed_tensor(node: Any) -> Any:
    """Return the saved tensor of a node that torch refuses to hand out because it was changed, None if there is none."""
    for name in dir(node):
        if name.startswith("_saved_"):
            try:
                getattr(node, name)
            except RuntimeError as error:
                if _CHANGED in str(error):
                    raw = getattr(node, f"_raw{name}")
                    return (raw[0] if isinstance(raw, tuple | list) else raw).data
    return None


def _shared(heads: list[Any], graph: list[Any], frame: FrameType | None) -> Any:
    """Return the newest node that the failed graph shares with another one that the user still holds, if any."""
    for _, _, tensor in visible(frame):
        if tensor.grad_fn in heads:
            continue
        other = {node for node in islice(nodes([tensor.grad_fn]), _NODES) if leaf(node) is None}
        common = [node for node in graph if node in other]
        if common and tensor.grad_fn not in graph:
            return max(common, key=lambda node: node._sequence_nr())
    return None


def _carrier(entry: Any, frame: FrameType | None) -> _Carrier | None:
    """Return the variable that holds the node by which the old graph is reached, or that did one iteration ago."""
    seen = list(visible(frame))
    for caller, name, tensor in seen:
        if tensor.grad_fn is entry:
            return _Carrier(name, _stored_in_loop(caller, name))
    for caller, name, tensor in seen:
        if type(tensor.grad_fn) is type(entry) and _stored_in_loop(caller, name):
            return _Carrier(name, True)
    return None


def _stored_in_loop(frame: FrameType, name: str) -> bool:
    """Tell whether the innermost loop around what `frame` is doing assigns `name`; an attribute may be assigned anywhere."""
    loop = loop_around(frame.f_code, frame.f_lasti)
    return "." in name or (loop is not None and stores_in(frame.f_code, name, loop))


def _in_loop_with(frame: FrameType | None, made: Location | None) -> bool:
    """Tell whether the loop around what `frame` is doing spans the line that made a node; True if nobody knows."""
    if frame is None or made is None or made.filename != frame.f_code.co_filename:
        return True
    loop = loop_around(frame.f_code, frame.f_lasti)
    inside = [row for start, _, row in frame.f_code.co_lines() if row is not None and loop and start in loop]
    return not inside or min(inside) <= made.row <= max(inside)
