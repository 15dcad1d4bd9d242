"""What fails in the backward of the user's own `autograd.Function`: an error inside of it, or gradients that do not fit.

Knows nodes, frames and torch's messages by who handles them; must not know how torch is hooked.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import islice
from types import FunctionType
from typing import Any

from torch.autograd.function import BackwardCFunction

from gradlint.diagnostics import Location
from gradlint.runtime.graph import heads, nodes
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.lines import made_at
from gradlint.runtime.refusal import Refusal
from gradlint.runtime.sites import NOWHERE, Origin, origin_of
from gradlint.runtime.sources import source_of
from gradlint.wordings.graphs import FITTING, LOOK_INSIDE, ONE_FOR_EACH

_NODES = 100_000
_PASS = "_engine_run_backward"


def running(refusal: Refusal) -> Any:
    """Return the node of the user's own function in whose backward an error was raised, None if it was not in one."""
    for frame in refusal.around:
        if frame.f_code.co_name == _PASS:
            return None
        node = frame.f_locals.get("self")
        if isinstance(node, BackwardCFunction):
            return node
    return None


def failed(refusal: Refusal, node: Any, ledger: Ledger) -> None:
    """The backward of the user's own function raises an error."""
    marks = list(_marks(node, refusal.place))
    ledger.report("GL526", refusal.place, marks, subject=_name(node), what="raises an error here", remedy=LOOK_INSIDE)


def unfit(refusal: Refusal, ledger: Ledger) -> None:
    """The user's own function returns too few or too many gradients, or one that does not fit."""
    said = re.search(r"[Ff]unction (\w+) returned an (in\w+) ", refusal.message)
    roots = refusal.local(_PASS, "t_outputs") or ()
    graph = islice(nodes(heads(roots)), _NODES)
    node = next((each for each in graph if said is not None and each.name() == said[1] and _is_users(each)), None)
    if said is None or node is None:
        return
    what, remedy = _too_few(refusal, node) if said[2] == "incorrect" else _of_another_kind(refusal, node)
    place = _begin(node)
    marks = [("pass", refusal.place), *_marks(node, place)]
    ledger.report("GL526", place or refusal.place, marks, subject=_name(node), what=what, remedy=remedy)


def _too_few(refusal: Refusal, node: Any) -> tuple[str, str]:
    """Say how many gradients were returned, and for what there must be one."""
    said = re.search(r"expected (\d+), got (\d+)", refusal.message)
    given = f"{said[2]} gradient{'s' * (said[2] != '1')}" if said else "another number of gradients"
    wanted = ", ".join(f"`{name}`" for name in _inputs(node))
    return f"returns {given}, and its forward takes {wanted}", ONE_FOR_EACH


def _of_another_kind(refusal: Refusal, node: Any) -> tuple[str, str]:
    """Say which gradient does not fit to what it belongs to."""
    said = re.search(r"at index (\d+) - (.*)", refusal.message, re.DOTALL)
    names = _inputs(node)
    index = int(said[1]) if said else len(names)
    name = names[index] if index < len(names) else "an argument"
    return f"returns a gradient for `{name}` that does not fit: {said[2].strip() if said else ''}", FITTING.format(name)


def _inputs(node: Any) -> list[str]:
    code = node._forward_cls.forward.__code__
    names = code.co_varnames[: code.co_argcount]
    return [name for name in names if name != "ctx"]


def _marks(node: Any, apart_from: Location | None) -> Iterator[tuple[str, Location]]:
    made = made_at(node)
    if made is not None and made is not NOWHERE and made != apart_from:
        yield "made", made


def _begin(node: Any) -> Location | None:
    backward = node._forward_cls.backward
    source = source_of(backward.__code__) if isinstance(backward, FunctionType) else None
    tree = source.tree if source is not None else None
    return Location(source.filename, tree.lineno) if source is not None and isinstance(tree, ast.stmt) else None


def _is_users(node: Any) -> bool:
    own = getattr(node, "_forward_cls", None)
    code = getattr(getattr(own, "backward", None), "__code__", None)
    return code is not None and origin_of(code) is Origin.USER


def _name(node: Any) -> str:
    return str(node._forward_cls.__name__)
