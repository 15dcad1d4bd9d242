"""Why a backward pass failed on a graph that was freed before.

Works after torch has raised, from what nodes tell for free: each carries the number at which it was made, so the
number at the start of an earlier backward pass separates what that pass could have freed from what is new.
Knows the graph and the ledger; must not know how torch is hooked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from types import FrameType
from typing import Any

from gradlint.diagnostics import Location
from gradlint.runtime.bytecode import loop_around, stores_in
from gradlint.runtime.failure import Failure
from gradlint.runtime.graph import leaf, nodes, visible
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.lines import made_at
from gradlint.runtime.sites import text_at

_NODES = 100_000
Begun = tuple[Location, int]  # where a backward pass was, and the number that the next node had when it began


@dataclass(frozen=True, slots=True)
class _Carrier:
    """A variable through which an old graph was reached; `rebound`: it is assigned in the loop of the backward pass."""

    name: str
    rebound: bool


def explain_reuse(failure: Failure, earlier: Sequence[Begun], ledger: Ledger) -> None:
    """Report which of the `earlier` backward passes freed the graph, and through what this one came back to it."""
    graph = [node for node in islice(nodes(failure.heads), _NODES) if leaf(node) is None]
    looped = next((each for each in reversed(earlier) if each[0] == failure.place), None)
    freed, began = looped or (earlier[-1] if earlier else (None, 0))
    old = [node for node in graph if node._sequence_nr() < began]
    entry = max(old, key=lambda node: node._sequence_nr(), default=None)
    if looped is None or entry is None:
        _report_shared(failure, earlier, graph, entry, ledger)
        return
    made = made_at(entry)
    carrier = _carrier(entry, failure.frame)
    inside = carrier.rebound if carrier is not None else _in_loop_with(failure.frame, made)
    marks = [("freed", freed), ("made", made), ("used", used_at(entry, graph) if inside else None)]
    subject = carrier.name if carrier else "the state"
    built = f" of `{carrier.name}`" if carrier else ""
    failure.report(ledger, "GL506" if inside else "GL504", marks, subject=subject, built=built)


def _report_shared(failure: Failure, earlier: Sequence[Begun], graph: list[Any], entry: Any, ledger: Ledger) -> None:
    shared, other = _shared(failure.heads, graph, failure.frame)
    node = shared if shared is not None else entry
    name = _name_of(node, failure.frame)
    marks = [("freed", _freed_by(node, other, earlier)), ("made", made_at(node)), ("used", used_at(shared, graph))]
    failure.report(ledger, "GL503", marks, through=f": both run through `{name}`" if name else "")


def _freed_by(node: Any, other: str, earlier: Sequence[Begun]) -> Location | None:
    """Return the backward pass that freed a node: the only one since it was made, or the one from `other`."""
    since = [place for place, began in earlier if node is None or began > node._sequence_nr()]
    if len(set(since)) > 1:
        since = [place for place in since if other and text_at(place).startswith(f"{other}.")]
    return since[-1] if since else None


def _name_of(node: Any, frame: FrameType | None) -> str | None:
    """Return what the user calls the tensor that `node` made."""
    return next((name for _, name, tensor in visible(frame) if node is not None and tensor.grad_fn is node), None)


def used_at(node: Any, graph: list[Any]) -> Location | None:
    """Return where the newest node that `graph` puts upon `node` was made."""
    above = [each for each in graph if any(below is node for below, _ in each.next_functions)]
    newest = max(above, key=lambda each: each._sequence_nr(), default=None)
    return made_at(newest) if node is not None else None


def _shared(heads: list[Any], graph: list[Any], frame: FrameType | None) -> tuple[Any, str]:
    """Return the newest node that the failed graph shares with another one that the user still holds, and its name."""
    for _, name, tensor in visible(frame):
        if tensor.grad_fn in heads:
            continue
        other = {node for node in islice(nodes([tensor.grad_fn]), _NODES) if leaf(node) is None}
        common = [node for node in graph if node in other]
        if common and tensor.grad_fn not in graph:
            return max(common, key=lambda node: node._sequence_nr()), name
    return None, ""


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
    lines = [(start, row) for start, _, row in frame.f_code.co_lines() if row is not None]
    inside = [row for start, row in lines if loop and start in loop]
    if made.row not in {row for _, row in lines}:  # made by another function
        return True
    return not inside or min(inside) <= made.row <= max(inside)
