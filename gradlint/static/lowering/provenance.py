"""Provenance: what a tensor certainly came out of, through which operations that stays true.

It knows tensors and the words of the models; it must not know syntax or rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gradlint.diagnostics import Location
from gradlint.static.lowering.algebra import dropped_by, graph_of, parts
from gradlint.static.lowering.values import DATA, Const, Dropped, Items, Made, Tensor, Value
from gradlint.static.sources.library import words


def marked(result: Value, op: str, place: Location) -> Value:
    """Return the result of a call that is certainly what `op` says ("": nothing is known of it)."""
    if not op:
        return result
    made = Made(op, place)
    return replace(result, made=made) if isinstance(result, Tensor) else Tensor(made=made)


def reshaped(result: Value, tensor: Value, method: str) -> Value:
    """Return the result of a method of a tensor, with what stays true of the tensor."""
    if not isinstance(result, Tensor) or not isinstance(tensor, Tensor):
        return result
    if result.nodes and method in words("tensor", "shaping", "summing"):
        # A sum is the sum of its terms still.
        result = replace(result, dropped=tensor.dropped)
    if tensor.made is None:
        return result
    kept = method in words("tensor", "shaping") or (tensor.made.op == "loss" and method in words("tensor", "summing"))
    return replace(result, made=tensor.made) if kept and tensor.made.op not in _OWN else result


def ranked(result: Value, name: str, place: Location, *, along: bool) -> Value:
    """Return the result of an operation that may return pieces, or what it finds and where (`along`: it is told a dimension)."""
    if not isinstance(result, Tensor) or not result.nodes:
        return result
    if name in words("tensor", "splitting"):
        return marked(result, "pieces", place)
    pair = name in words("tensor", "ranking") or (along and name in words("tensor", "ranking_along"))
    return marked(result, "ranked", place) if pair else result


def tells_where(value: Value, part: object) -> bool:
    """Whether a part of a result is the indices of what was found."""
    return is_ranked(value) and part in (1, -1, "indices")


def is_ranked(value: Value) -> bool:
    """Whether a result is two: what was found and where."""
    return isinstance(value, Tensor) and value.made is not None and value.made.op == "ranked"


def is_in_pieces(value: Value) -> bool:
    """Whether a result is a tensor cut into pieces, each of which carries its graph."""
    return isinstance(value, Tensor) and value.made is not None and value.made.op == "pieces"


_OWN = frozenset(["leaf", "copy", "masked", "data", "inference", "rebound"])
"""True of one tensor object; what is computed from it is another one."""


def is_plain(value: Value) -> bool:
    """Whether a value certainly carries no graph and requires no gradients."""
    match value:
        case Tensor(nodes=nodes, scalers=scalers, made=made, cut=cut, dropped=dropped):
            op = made.op if made is not None else ""
            lost = bool(dropped) and op not in ("", *_OWN)
            return (
                not nodes
                and not scalers
                and (op in ("data", "inference") or (cut is not None and op != "masked") or lost)
            )
        case Items(elements):
            return all(map(is_plain, elements))
        case Const(literal):
            return literal is None or isinstance(literal, (int, float, str))
        case _:
            return False


def plain(values: Iterable[Value]) -> Tensor | None:
    """Return the result of an operation on plain values alone, if they are: it has no graph either."""
    values = list(values)
    found = [part for value in values for part in parts(value) if isinstance(part, Tensor)]
    if not found or not all(map(is_plain, values)):
        return None
    gone = next((tensor.cut for tensor in found if tensor.cut is not None), None)
    return replace(DATA, cut=gone, dropped=dropped_by(found))


def summed(result: Value, *terms: Value) -> Value:
    """Return a sum, which has lost what its terms have lost."""
    return replace(result, dropped=dropped_by(terms)) if isinstance(result, Tensor) and result.nodes else result


def without_numbers(value: Value) -> Value:
    """Return a value with what it has lost, but not by being made a number."""
    if not isinstance(value, Tensor):
        return value
    return replace(value, dropped=frozenset(lost for lost in value.dropped if lost.means not in _NUMBERS))


def cut(place: Location, lost: frozenset[Dropped] = frozenset()) -> Tensor:
    """Return a tensor that has lost its graph at `place`, if it ever had one (`lost`: it had)."""
    return replace(DATA, cut=place, dropped=lost)


_NUMBERS = frozenset(["item", "data", "float", "int", "numpy", "tolist", "copy"])
"""Means by which a value loses its graph that, other than `detach()`, do not say that it shall."""


def lost_by(means: str, place: Location, values: Iterable[Value]) -> frozenset[Dropped]:
    """Return the graphs that `values` lose here, and those that they have lost before."""
    values = list(values)
    nodes = graph_of(values)
    if means not in _NUMBERS and means not in ("no-grad", "grad"):
        return frozenset()
    return dropped_by(values) | ({Dropped(means, place, nodes)} if nodes else frozenset())


def is_computed(value: Value) -> bool:
    """Whether a value certainly is, or holds, the result of a computation with a graph: a loss, or what a module returned."""
    return any(
        isinstance(part, Tensor) and (bool(part.nodes) or (part.made is not None and part.made.op not in _OWN))
        for part in parts(value)
    )


def is_leaf(value: Value) -> bool:
    """Whether a value is a tensor that was made to require gradients."""
    if not isinstance(value, Tensor) or value.made is None:
        return False
    masked = value.made.op == "masked" and value.cut is not None and not value.nodes
    return masked or value.made.op in ("leaf", "copy")


def is_of_inference(value: Value) -> bool:
    """Whether a value is a tensor that was made in the inference mode."""
    return isinstance(value, Tensor) and value.made is not None and value.made.op == "inference"


def is_rebound(value: Value) -> bool:
    """Whether a value is what an update by hand put in a parameter's place."""
    return isinstance(value, Tensor) and value.made is not None and value.made.op == "rebound"


def requiring(tensor: Tensor, place: Location) -> Tensor:
    """Return a tensor that was told to require gradients: a leaf, or a result whose graph this cannot bring back."""
    computed = is_computed(tensor) or tensor.cut is not None
    return replace(tensor, made=Made("masked" if computed else "leaf", place))


def copied(value: Value, requires_grad: object, place: Location) -> Tensor | None:
    """Return what `torch.tensor(value, requires_grad=...)` is (None: unknown)."""
    match requires_grad:
        case False | None:
            return cut(place, lost_by("copy", place, (value,))) if is_computed(value) else DATA
        case True:
            lost = isinstance(value, Tensor) and bool(value.dropped)
            return Tensor(made=Made("copy" if lost or is_computed(value) else "leaf", place))
        case _:
            return None


def changes_in_place(method: str) -> bool:
    """Whether a method of a tensor may give it a graph that it did not have."""
    return method.endswith("_") and not method.startswith("_") and method not in words("tensor", "harmless")


def unmarked(tensor: Tensor) -> Tensor:
    """Return a tensor of which nobody knows what it came out of."""
    return replace(tensor, made=None, cut=None, leaves=frozenset(), dropped=frozenset())


def without(value: Value, gone: Tensor) -> Value:
    """Return a value in which nothing is known of where the tensor `gone` comes from."""
    match value:
        case Tensor() if value == gone:
            return unmarked(value)
        case Items(elements, keys) if elements:
            found = tuple(without(element, gone) for element in elements)
            return value if all(a is b for a, b in zip(found, elements, strict=True)) else Items(found, keys)
        case _:
            return value
