"""Values together: what they are made of and carry, what one of two is, and what one is an iteration later.

It knows values alone, neither syntax nor names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from operator import is_

from gradlint.diagnostics import Location
from gradlint.static.flow.tree import GraphNode, Uid
from gradlint.static.lowering.values import (
    LOADER,
    Choice,
    Class,
    Const,
    Dropped,
    Function,
    Gathered,
    Imported,
    Instance,
    Items,
    Kind,
    Library,
    Method,
    Object,
    Params,
    Rows,
    Super,
    Tensor,
    Unknown,
    Value,
    unknown_uid,
)

_MADE_OF_OTHERS = frozenset([Items, Rows, Gathered, Method, Function, Choice, Super])
"""Values that consist of others; most are of other sorts."""


def parts(value: Value) -> Iterable[Value]:
    """Return `value` and everything that it is made of."""
    return _parts(value) if type(value) in _MADE_OF_OTHERS else (value,)


def _parts(value: Value) -> Iterator[Value]:
    yield value
    match value:
        case Items(elements):
            for element in elements:
                yield from parts(element)
        case Rows(each):
            yield from parts(each)
        case Gathered(whole):
            yield whole
        case Method(receiver) | Function(receiver=Instance() | Object() as receiver):
            yield from parts(receiver)
        case Choice(functions):
            for function in functions:
                yield from parts(function)
        case Super(instance=instance):
            yield instance
        case _:
            return


def graph_of(values: Iterable[Value]) -> frozenset[GraphNode]:
    """Return the graph parts that `values`, or anything that they are made of, carry."""
    return frozenset(
        node for value in values for part in parts(value) if isinstance(part, Tensor) for node in part.nodes
    )


def dropped_by(values: Iterable[Value]) -> frozenset[Dropped]:
    """Return the graphs that `values`, or anything that they are made of, have lost."""
    return frozenset(
        lost for value in values for part in parts(value) if isinstance(part, Tensor) for lost in part.dropped
    )


MOST_CHOICES = 4
"""Of more functions, none is followed."""

INERT = frozenset([Const, Library, Imported, Class])
"""What nobody can act through; most values are of these sorts."""


def held(values: Iterable[Value]) -> frozenset[Uid]:
    """Return the subjects that whoever gets `values` can act on (attributes of instances aside)."""
    uids: set[Uid] = set()
    for value in values:
        if type(value) in INERT:
            continue
        for part in parts(value):
            # No patterns: see `tree.walk`.
            if type(part) is Tensor:
                uids |= part.leaves
            elif type(part) is Unknown:
                uids |= part.holds
                if part.id:
                    uids.add(unknown_uid(part.id))
            elif type(part) is Object or type(part) is Instance:
                uids.add(part.uid)
            elif type(part) is Params:
                uids.update(part.of or ())
    return frozenset(uids)


def parameters_of(value: Value) -> frozenset[Uid] | None:
    """Return whose parameter a value is, as modules or tensors (None: of somebody unknown)."""
    match value:
        case Params(of):
            return of
        case Tensor(leaves=leaves):
            return leaves or None
        case Object(kind=Kind.MODULE, uid=uid):
            return frozenset({uid})
        case _:
            return None


def parameters_in(value: Value) -> Params | None:
    """Return the parameters that a value is, or that a group of parameters, or a list of either, consists of."""
    match value:
        case Params():
            return value
        case Tensor(leaves=leaves) if leaves:
            return Params(leaves)
        case Items(elements, tuple() as keys):
            return parameters_in(elements[keys.index("params")]) if "params" in keys else None
        case Items(elements) if elements:
            known = [part for each in elements if (part := parameters_in(each)) is not None]
            whole = join_all(known) if len(known) == len(elements) else None
            return whole if isinstance(whole, Params) else None
        case _:
            return None


def join(left: Value, right: Value) -> Value:
    """Return what is known of a value that is one of two."""
    if left == right:
        return left
    match left, right:
        case Unknown(), Unknown():
            return Unknown(holds=held((left, right)))
        case Object(), Object() if left.uid == right.uid and left.kind is right.kind:
            return _same(left, right)
        case (Object() | Instance() | Function() as value, Const(None)) | (
            Const(None),
            Object() | Instance() | Function() as value,
        ):
            # Using None would raise: where it is used, it is the other one.
            return value
        case (Object(uid=uid) as known, Unknown(id=id_)) | (Unknown(id=id_), Object(uid=uid) as known) if (
            id_ and unknown_uid(id_) == uid
        ):
            # One branch has shown who it is: it is nobody else in the other one.
            return known
        case Object(kind=Kind.LOADER), Object(kind=Kind.LOADER) if left.of == right.of:
            # What a loader is for is the sampler that it draws from.
            return left
        case (Object(kind=Kind.LOADER) as drawing, plain) | (plain, Object(kind=Kind.LOADER) as drawing) if (
            plain == LOADER
        ):
            # Where it has no sampler to be told, nobody has built one.
            return drawing
        case ((Function() | Choice()), (Function() | Choice())):
            return choice(left, right)
        case Items(), Items():
            return _either_list(left, right)
        case Tensor(), Tensor():
            return _either_tensor(left, right)
        case Gathered(one), Gathered(other) if one.nodes & other.nodes:
            return Gathered(replace(one, nodes=one.nodes & other.nodes))
        case (Items((), None), Params() as full) | (Params() as full, Items((), None)):
            return full
        case (Items(keys=None) as groups, Params() as more) | (Params() as more, Items(keys=None) as groups) if (
            listed := parameters_in(groups)
        ):
            return join(listed, more)
        case Params(), Params():
            return Params(None if left.of is None or right.of is None else left.of | right.of)
        case _:
            return Unknown(holds=held((left, right)) | scalers_of((left, right)))


def _same(left: Object, right: Object) -> Object:
    """Return what is known of one object on two paths."""
    of = None if left.of is None or right.of is None else left.of | right.of
    calls = (*left.calls, *(call for call in right.calls if call not in left.calls))
    return replace(left, origin=left.origin if left.origin == right.origin else "", of=of, calls=calls)


def _either_list(left: Items, right: Items) -> Value:
    # Who is put into a list unless it is one, and is one, is no list of lists.
    if right.keys is None and right.elements == (left,):
        return left
    if left.keys is None and left.elements == (right,):
        return right
    if len(left.elements) == len(right.elements) and left.keys == right.keys:
        return Items(tuple(map(join, left.elements, right.elements)), left.keys)
    return Unknown(holds=held((left, right)) | scalers_of((left, right)))


def _either_tensor(left: Tensor, right: Tensor) -> Tensor:
    sure = left.scalers == right.scalers and left.sure and right.sure
    made = left.made if left.made == right.made else None
    leaves = left.leaves | right.leaves if left.leaves and right.leaves else frozenset()
    nodes, dropped = left.nodes & right.nodes, left.dropped & right.dropped
    return Tensor(nodes, left.scalers | right.scalers, sure, made, left.cut and right.cut, dropped, leaves)


def join_all(values: Sequence[Value]) -> Value:
    """Return what is known of a value that is one of several; from the first on that makes it anybody, all are looked at once."""
    result = values[0]
    for index, other in enumerate(values[1:], 1):
        if type(result) is Unknown and not result.id:
            rest = (result, *values[index:])
            return Unknown(holds=held(rest) | scalers_of(rest))
        result = join(result, other)
    return result


def choice(*callables: Function | Class | Choice) -> Value:
    """Return one of several functions, or classes; of many, nobody knows which."""
    functions: dict[Function | Class, None] = {}
    for each in callables:
        functions |= dict.fromkeys(each.functions if isinstance(each, Choice) else (each,))
    return Choice(tuple(functions)) if len(functions) <= MOST_CHOICES else Unknown(holds=held(callables))


def scalers_of(values: Iterable[Value]) -> frozenset[Uid]:
    """Return the gradient scalers that have, or perhaps have, multiplied any of `values`."""
    return frozenset(
        uid for value in values for part in parts(value) if isinstance(part, Tensor) for uid in part.scalers
    )


def aged(value: Value, inside: frozenset[Location]) -> Value:
    """Return `value` one loop iteration later: graph parts built at the places `inside` are older by one."""
    match value:
        case Tensor(nodes) if any(node.place in inside for node in nodes):
            return _aged(value, inside)
        case Items(elements, keys):
            older = tuple(aged(element, inside) for element in elements)
            # The same list under two names stays the same.
            return value if all(map(is_, older, elements)) else Items(older, keys)
        case Gathered(whole) if any(node.place in inside for node in whole.nodes):
            return Gathered(_aged(whole, inside))
        case _:
            return value


def exchanged(value: Value, old: Value, new: Value) -> Value:
    """Return `value` with `new` in place of whatever in it is `old` itself."""
    if value is old:
        return new
    if isinstance(value, Items):
        elements = tuple(exchanged(element, old, new) for element in value.elements)
        return value if all(map(is_, elements, value.elements)) else Items(elements, value.keys)
    return value


def part_of(value: Tensor, name: str) -> Tensor:
    """Return a part of what an unknown module returned: that one part carries a graph says nothing of the others."""
    if not value.nodes and value.made is not None and value.made.op in ("data", "inference"):
        return value
    nodes = (replace(node, module=(*node.module, name)) if not node.sure else node for node in value.nodes)
    return replace(value, nodes=frozenset(nodes), made=None, cut=None, dropped=frozenset())


def with_element(whole: Value, index: object, value: Value) -> Value:
    """Return a collection in which one element, found under `index`, is another value."""
    match whole:
        case Items(elements, None) if isinstance(index, int) and -len(elements) <= index < len(elements):
            at = index % len(elements)
        case Items(elements, keys) if keys is not None and index in keys:
            at = keys.index(index)
        case _:
            return Unknown(holds=held((whole, value)))
    return Items((*elements[:at], value, *elements[at + 1 :]), whole.keys)


def _aged(tensor: Tensor, inside: frozenset[Location]) -> Tensor:
    return replace(tensor, nodes=frozenset(_older(node) if node.place in inside else node for node in tensor.nodes))


def _older(node: GraphNode) -> GraphNode:
    # Two generations tell "this iteration" from "an earlier one"; more would never converge.
    return replace(node, age=1)
