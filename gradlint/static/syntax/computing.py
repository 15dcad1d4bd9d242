"""Whether a module of another file certainly computes what it returns by layers of its own, with gradients on.

Such a module is as good as a library's, and not interpreted; its `forward` is read statement by statement. It knows syntax and
what names stand for; it must not know events or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field

from gradlint.data import dataclass
from gradlint.static.lowering.values import Class, Library
from gradlint.static.sources.library import words
from gradlint.static.syntax.endings import SEQUENCES, Forward
from gradlint.static.syntax.nodes import own, walk

_CUTS = frozenset(
    [
        "no_grad",
        "inference_mode",
        "set_grad_enabled",
        "enable_grad",
        "detach",
        "detach_",
        "data",
        "numpy",
        "item",
        "tolist",
        "argmax",
        "requires_grad",
        "requires_grad_",
        "round",
        "sign",
        "long",
        "int",
        "bool",
        "byte",
        "multinomial",
        "sample",
        "checkpoint",
    ]
)
"""Where `forward` says one of these, what it returns may have lost its graph."""
_FROZEN = frozenset(["requires_grad", "requires_grad_"])
_FACTS = frozenset(
    [
        "size",
        "dim",
        "ndimension",
        "numel",
        "nelement",
        "stride",
        "type",
        "get_device",
        "is_contiguous",
        "argsort",
        "eq",
        "ne",
        "gt",
        "lt",
        "ge",
        "le",
        "any",
        "all",
    ]
)
"""What a tensor is asked for that is no tensor with a graph."""
_HOLDERS = frozenset([*SEQUENCES, "torch.nn.ModuleList", "torch.nn.ModuleDict"])


def computed_parts(read: Forward, weighs: Callable[[Class], bool]) -> int:
    """Return of how many parts the result of a `forward` is, if layers with weights certainly compute each (0: not known).

    `weighs` tells whether a module of a class in sight does so.
    """
    said = {node.attr for node in own(read.function) if isinstance(node, ast.Attribute)}
    told = {node.attr for cls in read.lineage for node in walk(cls) if isinstance(node, ast.Attribute)}
    if (
        read.function.decorator_list
        or said & _CUTS
        or told & _FROZEN
        or isinstance(read.function, ast.AsyncFunctionDef)
    ):
        return 0
    reader = _Reader(read, weighs)
    reader.run(read.function.body, _Known())
    found = {len(parts) for parts in reader.returned}
    return found.pop() if len(found) == 1 and all(all(parts) for parts in reader.returned) else 0


@dataclass(slots=True)
class _Known:
    """The names that certainly stand for what layers computed, and those that stand for layers."""

    computed: set[str] = field(default_factory=set)
    layers: set[str] = field(default_factory=set)

    def both(self, other: _Known) -> _Known:
        return _Known(self.computed & other.computed, self.layers & other.layers)

    def copy(self) -> _Known:
        return _Known(set(self.computed), set(self.layers))


class _Reader:
    """Reads a `forward` in order."""

    def __init__(self, read: Forward, weighs: Callable[[Class], bool]) -> None:
        self.returned: list[list[bool]] = []
        self._read, self._weighs = read, weighs
        self._made: dict[str, list[ast.expr]] = {}
        for target, value in (pair for cls in read.lineage for pair in _assigned(cls)):
            if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
                self._made.setdefault(target.attr, []).append(value)

    def run(self, body: Iterable[ast.stmt], known: _Known) -> _Known | None:
        """Return what is known behind some statements (None: nothing gets there)."""
        for statement in body:
            match statement:
                case ast.Return(value):
                    self.returned.append([self._is_computed(part, known) for part in _parts(value)])
                    return None
                case ast.Raise():
                    return None
                case ast.If(_, body=yes, orelse=no):
                    ends = [end for end in (self.run(yes, known.copy()), self.run(no, known.copy())) if end]
                    if not ends:
                        return None
                    known = ends[0] if len(ends) == 1 else ends[0].both(ends[1])
                case ast.With(body=inner):
                    after = self.run(inner, known)
                    if after is None:
                        return None
                    known = after
                case ast.For(target, source, inner):
                    self._loop(target, source, known)
                    # A loop is taken to run at least once.
                    known = self.run(inner, known) or known
                case _:
                    self._bind(statement, known)
        return known

    def _loop(self, target: ast.expr, source: ast.expr, known: _Known) -> None:
        self._forget(target, known)
        listed = source.args[0] if isinstance(source, ast.Call) and source.args else source
        item = target.elts[-1] if isinstance(target, ast.Tuple) else target
        if isinstance(item, ast.Name) and self._is_layer(listed, known):
            known.layers.add(item.id)

    def _bind(self, statement: ast.stmt, known: _Known) -> None:
        match statement:
            case ast.Assign(targets, value):
                computed = self._is_computed(value, known)
                layer = self._is_layer(value, known)
                for target in targets:
                    self._forget(target, known)
                    names = {each.id for each in _parts(target) if isinstance(each, ast.Name)}
                    known.computed |= names if computed else set()
                    known.layers |= names if layer else set()
            case ast.AugAssign():
                return
            case _:
                self._forget(statement, known)

    def _forget(self, node: ast.AST, known: _Known) -> None:
        for each in walk(node):
            if isinstance(each, ast.Name) and not isinstance(each.ctx, ast.Load):
                known.computed.discard(each.id)
                known.layers.discard(each.id)

    def _is_computed(self, node: ast.expr | None, known: _Known) -> bool:
        match node:
            case ast.Name(name):
                return name in known.computed
            case ast.Call(callee) if self._is_layer(callee, known):
                return True
            case ast.Call(ast.Attribute(owner, method)) if self._is_computed(owner, known):
                return method not in _FACTS
            case ast.Call(callee, args):
                named = self._read.named(callee)
                plain = (
                    isinstance(named, Library)
                    and named.name.startswith("torch.")
                    and _last(named) not in _FACTS | _CUTS
                )
                return plain and any(self._is_computed(part, known) for arg in args for part in _parts(arg))
            case ast.BinOp(left, _, right):
                return self._is_computed(left, known) or self._is_computed(right, known)
            case ast.UnaryOp(ast.USub(), operand) | ast.Subscript(operand) | ast.Attribute(operand, "T" | "mT"):
                return self._is_computed(operand, known)
            case ast.IfExp(_, yes, no):
                return self._is_computed(yes, known) and self._is_computed(no, known)
            case _:
                return False

    def _is_layer(self, node: ast.expr, known: _Known) -> bool:
        """Whether an expression stands for a module of this one's that has weights."""
        match node:
            case ast.Name(name):
                return name in known.layers
            case ast.Attribute(ast.Name("self"), name):
                made = self._made.get(name, [])
                return bool(made) and all(map(self._bears, made))
            case ast.Subscript(owner):
                return self._is_layer(owner, known)
            case _:
                return False

    def _bears(self, node: ast.expr) -> bool:
        match node:
            case ast.Call(callee, args):
                match self._read.named(callee):
                    case Library(name) if name in _HOLDERS:
                        return any(map(self._bears, args))
                    case Library(name):
                        return name.startswith("torch.nn.") and name.rpartition(".")[2] in words("saved", "modules")
                    case Class() as cls:
                        return self._weighs(cls)
                    case _:
                        return False
            case ast.List(elts) | ast.Tuple(elts):
                return any(map(self._bears, elts))
            case ast.ListComp(elt) | ast.GeneratorExp(elt):
                return self._bears(elt)
            case _:
                return False


def _assigned(cls: ast.ClassDef) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield what a class assigns, with its value; of `a, b = c, d` each by itself."""
    for node in (each for each in walk(cls) if isinstance(each, ast.Assign)):
        for target in node.targets:
            match target, node.value:
                case ast.Tuple(names), ast.Tuple(values) if len(names) == len(values):
                    yield from zip(names, values, strict=True)
                case _:
                    yield target, node.value


def _parts(node: ast.expr | None) -> list[ast.expr]:
    if node is None:
        return []
    return list(node.elts) if isinstance(node, (ast.Tuple, ast.List)) else [node]


def _last(named: Library) -> str:
    return named.name.rpartition(".")[2]
