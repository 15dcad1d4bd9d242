"""Losses that train nothing: GL523."""

from __future__ import annotations

import ast
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain

from gradlint.data import dataclass
from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.graphs.graphs import is_trained
from gradlint.static.flow.tree import Event, GraphNode
from gradlint.static.lowering.values import Tensor
from gradlint.static.syntax.nodes import blocks_in, names, walk, walk_of

_TELLING = frozenset(["print", "format", "float", "str", "round", "item", "info", "debug", "add_scalar"])
"""Calls that take a number from a loss or write it down."""

_BACKWARD = ("backward", "manual_backward")
_USES = (EventKind.BACKWARD, EventKind.RETAIN, EventKind.ESCAPE)


@check
def replaced_before_use(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL523: a loss that is computed on every path, and replaced by another one before anything reads it."""
    trains = analysis.says(*_BACKWARD) and (analysis.lowering.objects or analysis.lowering.instances)
    names = _recomputed(analysis) if trains else frozenset[str]()
    if not names:
        return
    names -= _free(analysis, names)
    for block in blocks_in(analysis.tree) if names else ():
        for index, statement in enumerate(block):
            for name in sorted(_always_bound(statement) & names):
                if not all(_has_graph(analysis, value) for value in _values(statement, name)):
                    continue
                later = _replaced(name, statement, block[index + 1 :])
                if later is not None and not _is_of_another_cell(analysis, statement, later):
                    marks = [("made", analysis.source.place(statement))]
                    what = f"`{name}` is computed and replaced here before anything uses it: what it was trains nothing"
                    remedy = "delete the first computation, or add it to what replaces it"
                    yield compose("GL523", Side.STATIC, analysis.source.place(later), marks, what=what, remedy=remedy)


def _is_of_another_cell(analysis: Analysis, first: ast.stmt, later: ast.stmt) -> bool:
    """Whether a cell of a notebook begins between two statements: what the first has computed may have been looked at."""
    return any(first.lineno < row <= later.lineno for row in analysis.pieces)


def _recomputed(analysis: Analysis) -> frozenset[str]:
    """Return the names that are assigned several times, and a loss of something trained at least once."""
    given: dict[str, list[ast.expr]] = defaultdict(list)
    for node in analysis.nodes(ast.Assign):
        if isinstance(node.targets[0], ast.Name):
            given[node.targets[0].id].append(node.value)
    return frozenset(
        name
        for name, values in given.items()
        if len(values) > 1 and any(_has_graph(analysis, value) for value in values)
    )


def _free(analysis: Analysis, names: frozenset[str]) -> frozenset[str]:
    """Return those of `names` that some function reads and does not bind: whoever calls it may read them."""
    found: set[str] = set()
    for function in (*analysis.functions, *analysis.nodes(ast.Lambda)):
        named = [each for each in walk_of(function, ast.Name) if each.id in names]
        if named:
            bound = {each.id for each in named if not isinstance(each.ctx, ast.Load)}
            bound |= {each.arg for each in walk(function.args) if isinstance(each, ast.arg)}
            found |= {each.id for each in named} - bound
    return frozenset(found)


def _always_bound(statement: ast.stmt) -> frozenset[str]:
    """Return the names that a statement binds on every path through it."""
    match statement:
        case ast.Assign([ast.Name(name)]):
            return frozenset({name})
        case ast.If(body=body, orelse=orelse) if orelse:
            return _bound_in(body) & _bound_in(orelse)
        case ast.With(body=body):
            return _bound_in(body)
        case _:
            return frozenset()


def _bound_in(block: list[ast.stmt]) -> frozenset[str]:
    return frozenset(chain.from_iterable(map(_always_bound, block)))


def _values(statement: ast.stmt, name: str) -> list[ast.expr]:
    return [
        node.value
        for node in walk(statement)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name
    ]


def _has_graph(analysis: Analysis, value: ast.expr) -> bool:
    known = analysis.value(value)
    return isinstance(known, Tensor) and any(node.sure and is_trained(analysis, node) for node in known.nodes)


def _replaced(name: str, first: ast.stmt, rest: list[ast.stmt]) -> ast.stmt | None:
    """Return the statement that replaces what `first` binds, if nothing reads it before and a backward runs after."""
    if _reads(first, name):
        return None
    for index, statement in enumerate(rest):
        if name in _always_bound(statement) and not _reads(statement, name):
            return statement if _is_run_backward(name, rest[index + 1 :]) else None
        if _mentions(statement, name):
            return None
    return None


def _is_run_backward(name: str, rest: list[ast.stmt]) -> bool:
    """Whether a backward runs from what a name stands for now, not from what it stands for later."""
    for statement in rest:
        if _runs_backward(statement, name):
            return name not in _always_bound(statement)
        if name in _always_bound(statement) and not _reads(statement, name):
            return False
    return False


def _reads(node: ast.AST, name: str) -> bool:
    return any(isinstance(each, ast.Name) and each.id == name and isinstance(each.ctx, ast.Load) for each in walk(node))


def _mentions(node: ast.AST, name: str) -> bool:
    return any(isinstance(each, ast.Name) and each.id == name for each in walk(node))


def _runs_backward(statement: ast.stmt, name: str) -> bool:
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _BACKWARD
        and _reads(node, name)
        for node in walk(statement)
    )


@dataclass(frozen=True)
class _Window:
    """What an optimizer does in one iteration of a loop: it clears, something runs backward, it steps."""

    step: Event
    begin: int
    loop: ast.For | ast.While


@check
def only_told(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL523: a loss of a trained model that is printed, while its optimizer steps on the gradients of something else."""
    if "backward" not in analysis.source.text:
        return
    names_of = cache(_Names)
    for window in _windows(analysis):
        block = next((each for each in blocks_in(window.loop) if _holds(each, window.step.place.row)), [])
        rows = [statement.lineno for statement in block]
        for statement in block[bisect_right(rows, window.begin) : bisect_left(rows, window.step.place.row)]:
            match statement:
                case ast.Assign([ast.Name(name)], value) if isinstance(known := analysis.value(value), Tensor):
                    nodes = _in_vain(analysis, window, names_of(window.loop), name, known)
                    if nodes:
                        what = f"`{name}` is computed and told, but nothing runs backward from it:"
                        what += f" `{window.step.name}` steps on the gradients of something else"
                        place = analysis.source.place(statement)
                        marks = [("step", window.step.place)]
                        remedy = f"add it to the loss that is run backward: `{name}.backward()`"
                        yield compose("GL523", Side.STATIC, place, marks, what=what, remedy=remedy)


def _holds(block: list[ast.stmt], row: int) -> bool:
    """Whether a statement of the block itself stands in a row."""
    return any(isinstance(each, ast.Expr) and each.lineno <= row <= (each.end_lineno or row) for each in block)


def _windows(analysis: Analysis) -> Iterator[_Window]:
    for root in analysis.roots:
        turns: dict[tuple[object, object], tuple[list[Event], list[int]]] = {}
        for step in root.of(EventKind.STEP):
            loop = analysis.lowering.loop_nodes.get(step.loops[-1]) if step.loops else None
            if not isinstance(loop, (ast.For, ast.While)):
                continue
            turn = step.loops, step.frame
            clears, passes = turns.get(turn) or turns.setdefault(turn, _beside(analysis.ring(root, step.loops), step))
            row = step.place.row
            before = (each for each in clears if each.place.row < row and _concerns(analysis, each, step))
            begin = next((each.place.row for each in before), None)
            if begin is not None and bisect_right(passes, begin) < bisect_left(passes, row):
                yield _Window(step, begin, loop)


def _beside(ring: list[Event], step: Event) -> tuple[list[Event], list[int]]:
    """Return what clears, the last first, and the rows of what runs backward, in the same iterations of the same loop as a step."""
    here = [event for event in ring if event.loops == step.loops and event.frame == step.frame]
    clears = sorted((event for event in here if event.kind is EventKind.ZERO), key=lambda each: -each.place.row)
    return clears, sorted(event.place.row for event in here if event.kind is EventKind.BACKWARD)


def _concerns(analysis: Analysis, clear: Event, step: Event) -> bool:
    stepped, trained_by = step.targets or frozenset(), analysis.trained_by
    return clear.targets is None or any(
        uid in stepped or trained_by.get(uid, frozenset()) & stepped for uid in clear.targets
    )


class _Names:
    """Where the names of a loop are read: to tell them, or to compute something else with them."""

    def __init__(self, loop: ast.AST) -> None:
        self.reads: dict[str, list[ast.Name]] = defaultdict(list)
        self.told: set[ast.Name] = set()
        self.sources: dict[str, list[ast.expr]] = defaultdict(list)
        for node in walk(loop):
            match node:
                case ast.Name(name, ast.Load()):
                    self.reads[name].append(node)
                case ast.Assign([ast.Name(name)], value):
                    self.sources[name].append(value)
                case ast.JoinedStr() | ast.BinOp(ast.Constant(str()), ast.Mod(), _):
                    self.told |= set(names(node))
                case ast.Call(func, args) if _called(func) in _TELLING:
                    owner = [func.value] if isinstance(func, ast.Attribute) else []
                    self.told |= {name for part in (*owner, *args) for name in names(part)}

    def parts(self, name: str) -> list[ast.Name]:
        """Return what is read where a name is computed."""
        return [read for source in self.sources[name] for read in names(source)]


def _called(func: ast.expr) -> str:
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


def _in_vain(analysis: Analysis, window: _Window, names: _Names, name: str, known: Tensor) -> frozenset[GraphNode]:
    """Return the graph that a name has and that nothing runs through, if all that anybody does is to tell it."""
    if not known.nodes or not names.reads[name] or not set(names.reads[name]) <= names.told:
        return frozenset()
    if len(names.sources[name]) > 1 or not _apart(analysis, names, name, known.nodes):
        return frozenset()
    used = {node.place for event in _of(analysis, _USES) for node in event.nodes}
    stepped = window.step.targets or frozenset()
    trained = any(node.sure and analysis.trained_by.get(node.module, frozenset()) & stepped for node in known.nodes)
    return known.nodes if trained and not any(node.place in used for node in known.nodes) else frozenset()


def _of(analysis: Analysis, kinds: Iterable[EventKind]) -> Iterator[Event]:
    return (event for found in analysis.events.values() for event in found if event.kind in kinds)


def _apart(analysis: Analysis, names: _Names, name: str, nodes: frozenset[GraphNode]) -> bool:
    """Whether what a loss is computed of goes nowhere else with its graph."""
    chained, todo = {name}, [name]
    allowed = set(names.told)
    while todo:
        parts = names.parts(todo.pop())
        allowed |= set(parts)
        new = {each.id for each in parts if _carries(analysis.value(each), nodes)} - chained
        chained |= new
        todo += sorted(new)
    return all(read in allowed for each in chained for read in names.reads[each])


def _carries(value: object, nodes: frozenset[GraphNode]) -> bool:
    return isinstance(value, Tensor) and bool(value.nodes & nodes)
