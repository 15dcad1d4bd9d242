"""Why a backward pass failed on a graph that was freed before.

Works after torch has raised, from what nodes tell for free: each carries the number at which it was made, so the
number at the start of an earlier backward pass separates what that pass could have freed from what is new.
Knows the graph and the ledger; must not know how torch is hooked.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from types import FrameType
from typing import Any

from torch import Tensor

from gradlint.diagnostics import Location
from gradlint.runtime.bytecode import loop_around
from gradlint.runtime.carriers import Carrier, carrier_of, is_in_loop, is_stored_in_loop
from gradlint.runtime.failure import Failure
from gradlint.runtime.graph import leaf, nodes, visible
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.lines import made_at
from gradlint.runtime.sites import text_at
from gradlint.wordings.graphs import (
    APART,
    BEGIN_ANEW,
    CARRIED,
    COLLECTED,
    COMPUTE_ANEW,
    CUT,
    CUT_EACH,
    CUT_PARTS,
    CUT_SOMETHING,
    CUT_WHATEVER,
    LOOPED,
    ONCE,
    RETAIN,
    TOGETHER,
    called,
)

_NODES = 100_000
Begun = tuple[Location, int]  # where a backward pass was, and the number that the next node had when it began


def explain_reuse(failure: Failure, earlier: Sequence[Begun], ledger: Ledger) -> None:
    """Report which of the `earlier` backward passes freed the graph, and through what this one came back to it."""
    graph = [node for node in islice(nodes(failure.heads), _NODES) if leaf(node) is None]
    looped = next((each for each in reversed(earlier) if each[0] == failure.place), None)
    freed, began = looped or (earlier[-1] if earlier else (None, 0))
    old = [node for node in graph if node._sequence_nr() < began]
    entry = max(old, key=lambda node: node._sequence_nr(), default=None)
    if looped is None or entry is None or _is_one_of_many(entry, failure):
        _report_shared(failure, earlier, graph, entry, ledger)
        return
    made = made_at(entry)
    used = used_at(entry, graph)
    carrier = carrier_of(entry, made, used, failure.frame)
    inside = carrier.renewed if carrier is not None else is_in_loop(failure.frame, made) is not False
    marks = [("freed", freed), ("made", made), ("used", used if inside else None)]
    if inside:
        failure.report(ledger, "GL506", marks, None, None, **_carried(carrier, failure))
    else:
        failure.report(ledger, "GL504", marks, None, None, **_built_once(carrier, failure.frame))


def _is_one_of_many(entry: Any, failure: Failure) -> bool:
    """Whether a loop goes over losses that were all there before it, and so share one graph."""
    names = failure.frame.f_locals.items() if failure.frame is not None else ()
    own = [name for name, value in names if any(value is root for root in failure.roots)]
    return entry in failure.heads and any(is_stored_in_loop(failure.frame, name) for name in own)


def _carried(carrier: Carrier | None, failure: Failure) -> dict[str, str]:
    """Return the words for a graph of an earlier iteration that is used in this one."""
    said = {"subject": f"`{carrier.name}`" if carrier else "something", **CARRIED}
    if carrier is None:
        return said | {"remedy": CUT_SOMETHING}
    if carrier.kept:
        return said | {"remedy": COMPUTE_ANEW.format(subject=carrier.name), **COLLECTED}
    if carrier.collects:
        return said | {"remedy": CUT_EACH.format(subject=carrier.name), **COLLECTED}
    if any(carrier.value is root for root in failure.roots):
        return said | {"remedy": BEGIN_ANEW.format(subject=carrier.name)}
    parts = carrier.value if isinstance(carrier.value, tuple) else ()
    whole = CUT_PARTS if parts and all(isinstance(each, Tensor) for each in parts) else CUT_WHATEVER
    return said | {"remedy": (CUT if isinstance(carrier.value, Tensor) else whole).format(subject=carrier.name)}


def _built_once(carrier: Carrier | None, frame: FrameType | None) -> dict[str, str]:
    """Return the words for a graph that was built before what runs backward through it, again and again."""
    built = f" of `{carrier.name}`" if carrier else ""
    if frame is None or loop_around(frame.f_code, frame.f_lasti) or not frame.f_code.co_name.isidentifier():
        return {"built": built, **LOOPED}
    return {"built": built, **called(frame.f_code.co_name)}


def _report_shared(failure: Failure, earlier: Sequence[Begun], graph: list[Any], entry: Any, ledger: Ledger) -> None:
    shared, other = _shared(failure.heads, graph, failure.frame)
    node = shared if shared is not None else entry
    name, freed = _name_of(node, failure.frame), _freed_by(node, other, earlier)
    marks = [("freed", freed), ("made", made_at(node)), ("used", used_at(shared, graph))]
    through = f": both run through `{name}`" if name else ""
    failure.report(ledger, "GL503", marks, through=through, remedy=_remedy(node, freed, failure))


def _remedy(node: Any, freed: Location | None, failure: Failure) -> str:
    """Return what to do about a graph that two passes share at `node`."""
    by = text_at(freed) if freed is not None else ""
    if "grad(" in by and "backward" not in by:
        return RETAIN
    if node in failure.heads:
        return ONCE
    return APART if freed == failure.place else TOGETHER


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
