"""Forward passes: running a module or a loss, what its output carries, and what autograd would have to save for it.

It knows graph parts and events; it must not know states or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.regex import regex
from gradlint.static.flow.tree import GraphNode, Uid
from gradlint.static.lowering.algebra import graph_of, part_of
from gradlint.static.lowering.arithmetic import combined
from gradlint.static.lowering.frames import Grad
from gradlint.static.lowering.members import Members
from gradlint.static.lowering.notes import Compared, Refused
from gradlint.static.lowering.provenance import is_computed, is_of_inference, marked
from gradlint.static.lowering.values import (
    DATA,
    UNKNOWN,
    Choice,
    Class,
    Dropped,
    Instance,
    Items,
    Kind,
    Made,
    Object,
    Tensor,
    Unknown,
    Value,
    const,
)
from gradlint.static.sources.library import made_by, words
from gradlint.static.syntax.endings import SEQUENCES
from gradlint.static.syntax.nodes import spelled, walk

_SQUASHES = frozenset(["softmax", "sigmoid"])
_GOES_BACK = regex(r"backward|backprop")
"""What an argument by which a forward itself runs backward is called."""


class Forwards(Members):
    """Emits forward passes."""

    def ungraphed(self, result: Value, node: ast.AST, values: Iterable[Value], *, computed: bool = False) -> Value:
        """Return what a call on `values` returns where gradients are off, or perhaps off; it is certainly `computed` by a module."""
        lost = self.lost(node, values)
        new = computed or any(part.sure for each in lost for part in each.nodes)
        return without_graph(result, self.grad, lost, self.place(node) if self.inference and new else None)

    def refuse(self, node: ast.AST, values: Iterable[Value], nodes: frozenset[GraphNode]) -> None:
        """Remember that autograd would have to save `values`, where the inference mode has made one of them."""
        if self.grad is Grad.ON and not self.inference:
            for value in values:
                if isinstance(value, Tensor) and value.made is not None and is_of_inference(value):
                    self.refused.append(Refused(node, self._spelled_value(node, value), value.made.place, nodes))

    def compares(
        self, loss: str, node: ast.Call, args: list[Value], named: dict[str, Value], criterion: Object | None = None
    ) -> None:
        """Remember what a loss compares, and what it would have to save."""
        if loss.startswith("torch.nn.") and self.grad is Grad.ON:
            self.compared.append(Compared(node, loss, criterion, tuple(args), named))
        if loss.rpartition(".")[2] in words("saved", "losses"):
            self.refuse(node, args[1:2], graph_of(args[:1]))

    def _spelled_value(self, node: ast.AST, value: Value) -> str:
        written = (part for part in walk(node) if isinstance(part, (ast.Name, ast.Attribute, ast.Call)))
        return next((ast.unparse(part) for part in written if self.latest.get(part) is value), "")

    def _saves_input(self, module: Object) -> bool:
        """Whether a module of torch keeps what it is given for the backward pass of its parameters."""
        if module.origin in SEQUENCES:
            first = self.store.get((module.uid, "*0"))
            return isinstance(first, Object) and self._saves_input(first)
        package, _, name = module.origin.rpartition(".")
        return package == "torch.nn" and name in words("saved", "modules")

    def _ran(
        self, uid: Uid, node: ast.AST, sure: bool = True, roles: tuple[str, ...] = (), parts: tuple[GraphNode, ...] = ()
    ) -> GraphNode:
        made = GraphNode(self.place(node), uid, sure=sure)
        wrapped = uid in self.parallel or uid in self.prepared
        if wrapped and isinstance(node, ast.Call) and _past_the_wrapper(node.func):
            self.bypassed[made.place] = ast.unparse(node.func)
        self.emit(
            EventKind.FORWARD,
            node,
            frozenset({uid}),
            self.spelled(node).removesuffix(".forward"),
            frozenset({made, *parts}),
            roles,
        )
        return made

    def _ran_by_owner(self, uid: Uid, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Run a module, or what has modules, whose source is not in sight: its output may carry its graph."""
        drawn = ("drawn",) if self.spelled(node).rpartition(".")[2] in words("module", "drawing") else ()
        told = ("told",) if self.is_thrown_away(node) else ()
        made = self._ran(uid, node, sure=False, roles=("method", *drawn, *told))
        values = [*args, *named.values()]
        self.escape(node, [value for value in values if not isinstance(value, Tensor)])
        result = Tensor(graph_of(values) | {made})
        return result if self.grad is Grad.ON else self.ungraphed(DATA, node, (*values, result))

    def _forward(self, module: Object, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        values = [*args, *named.values()]
        if module.kind is Kind.CRITERION:
            self.compares(module.origin, node, args, named, module)
            result = combined(values) if self.grad is Grad.ON else self.ungraphed(DATA, node, values)
            return marked(result, self.output(module), self.place(node))
        if _told_to_go_back(named):
            self.escape(node, [module, *values])
        parts = self._computed_by(module, node)
        sure = module.origin.startswith("torch.") or len(parts) == 1
        made = self._ran(module.uid, node, sure=sure, parts=parts[1:] and parts)
        op = self.output(module)
        if self.grad is not Grad.ON:
            result = self.ungraphed(DATA, node, (*values, Tensor(frozenset({made}))), computed=True)
            if isinstance(result, Tensor) and not op:
                return self._ended(module, node, result)
            return marked(result, op, self.place(node))
        if self._saves_input(module):
            self.refuse(node, args[:1], frozenset({made}))
        self.escape(node, [value for value in values if not isinstance(value, Tensor)])
        given = graph_of(values)
        self.fed[made.place] |= given
        result = Tensor(given | {made})
        if len(parts) > 1:
            return self._ended(module, node, result, [Tensor(given | {part}) for part in parts])
        if module.origin in ("torch.nn.RNN", "torch.nn.GRU"):
            return Items((result, result))
        if module.origin == "torch.nn.LSTM":
            return Items((result, Items((result, result))))
        return marked(result, op, self.place(node)) if op else self._ended(module, node, result)

    def _computed_by(self, module: Object, node: ast.Call) -> tuple[GraphNode, ...]:
        """Return the graph parts of what a module of another file certainly computes by itself, each for a part of its result."""
        classes = self._classes_of(module)
        counts = {self.parts_computed(cls) if self._takes(cls, node) else 0 for cls in classes}
        count = counts.pop() if len(counts) == 1 else 0
        if count < 2:
            return (GraphNode(self.place(node), module.uid),) * count
        return tuple(GraphNode(self.place(node), (*module.uid, f"[{i}]")) for i in range(count))

    def _ended(self, module: Object, node: ast.Call, result: Tensor, computed: Sequence[Tensor] = ()) -> Value:
        """Return the result of a module of another file with what its `forward` certainly ends in."""
        classes = [cls for cls in self._classes_of(module) if self._takes(cls, node)]
        endings = _either([self.endings(cls) for cls in classes])
        if not any(endings):
            return Items(tuple(computed)) if computed else result
        parts = [result] if len(endings) == 1 else [part_of(result, f"[{i}]") for i in range(len(endings))]
        parts = list(computed) if len(computed) == len(endings) else parts
        ended = [replace(part, made=made) for part, made in zip(parts, endings, strict=True)]
        return ended[0] if len(ended) == 1 else Items(tuple(ended))

    def _classes_of(self, module: Object) -> list[Class]:
        """Return the classes of which a module may be, where branches make it of several; none if one is not in sight."""
        cls = self.instances.get(module.uid)
        if cls is None or cls.node.name == module.origin or not module.calls:
            return [cls] if cls is not None and cls.node.name == module.origin else []
        callees = (self.values.get(call.node.func) for call in module.calls if isinstance(call.node, ast.Call))
        found = [one for each in callees for one in (each.functions if isinstance(each, Choice) else (each,))]
        return [each for each in found if isinstance(each, Class)] if all(isinstance(e, Class) for e in found) else []

    def classes_run(self, callee: Value) -> list[Class]:
        """Return the classes in sight of one of which a module is that is called."""
        match callee:
            case Instance(cls=cls):
                return [cls]
            case Object(kind=Kind.MODULE, uid=("?", *names)):
                among = self.alternatives.get(".".join(names), ())
            case Object(kind=Kind.MODULE):
                return self._classes_of(callee)
            case Unknown(id=id_):
                among = self.alternatives.get(id_, ())
            case _:
                return []
        return [cls for each in among if each != callee for cls in self.classes_run(each)]

    def _takes(self, cls: Class, node: ast.Call) -> bool:
        """Whether the `forward` of a class can be called with so many arguments."""
        forward = self.method_of(cls, "forward")
        args = forward.node.args if forward is not None else None
        if args is None or args.vararg or args.kwarg or any(isinstance(arg, ast.Starred) for arg in node.args):
            return True
        taken = [arg.arg for arg in (*args.posonlyargs, *args.args)][1:]
        named = {keyword.arg for keyword in node.keywords}
        required = taken[: len(taken) - len(args.defaults)]
        return len(node.args) <= len(taken) and all(name in named for name in required[len(node.args) :])

    def output(self, module: Object) -> str:
        """Return what a module of a library certainly returns: that of the last of a sequence."""
        return self.outputs.get(module.uid, "") if module.origin in SEQUENCES else made_by(module.origin)

    def _collapsed(self, result: Value, made: GraphNode, args: list[Value]) -> Value:
        """Replace the graph parts that a module built inside by the one part that it is to its caller."""
        given = graph_of(args)
        match result:
            case Tensor(nodes) if nodes:
                return replace(result, nodes=(nodes & given) | {made})
            case Tensor() if is_computed(result):
                return replace(result, nodes=given | {replace(made, sure=False)})
            case Items(elements, keys):
                parts = _parts(made, [graph_of((element,)) - given for element in elements])
                collapsed = (self._collapsed(each, part, args) for each, part in zip(elements, parts, strict=True))
                return Items(tuple(collapsed), keys)
            case Unknown():
                return Tensor(given | {replace(made, sure=False)})
            case _:
                return result

    def spelled(self, node: ast.AST) -> str:
        """Return how the user writes the callee, or the receiver of a method, of a call."""
        return spelled(node.func) if isinstance(node, ast.Call) else ""


def _parts(made: GraphNode, inside: Sequence[frozenset[GraphNode]]) -> Iterator[GraphNode]:
    """Yield the graph part of each of several results: one of its own where nothing that was built inside is in another's, too."""
    for number, nodes in enumerate(inside):
        others = (each for i, each in enumerate(inside) if i != number)
        apart = bool(nodes) and nodes.isdisjoint(frozenset().union(*others))
        yield replace(made, module=(*made.module, f"[{number}]"), sure=False) if apart else made


def _either(endings: Sequence[tuple[Made | None, ...]]) -> tuple[Made | None, ...]:
    """Return in what the results of one of several modules end: where one of them squashes, that is so for whoever chooses it."""
    if len(endings) < 2:
        return endings[0] if endings else ()
    told = [each for each in endings if any(made is not None and made.op in _SQUASHES for made in each)]
    return told[0] if told and all(len(each) in (0, len(told[0])) for each in endings) else ()


def _told_to_go_back(named: Mapping[str, Value]) -> bool:
    """Whether a forward is told something of a backward pass: it is not presumed only to compute."""
    return any(_GOES_BACK.search(name) and const(value) not in (False, None) for name, value in named.items())


def _past_the_wrapper(callee: ast.expr) -> bool:
    """Whether a callee is `ddp.module` or `ddp.module.forward`, or what an accelerator unwraps."""
    match callee:
        case ast.Call(ast.Attribute(attr="unwrap_model")) | ast.Attribute(
            ast.Call(ast.Attribute(attr="unwrap_model")), "forward"
        ):
            return True
        case ast.Attribute(attr="module") | ast.Attribute(ast.Attribute(attr="module"), "forward"):
            return True
        case _:
            return False


def without_graph(
    result: Value, grad: Grad, lost: frozenset[Dropped] = frozenset(), inference: Location | None = None
) -> Value:
    """Return what a call returns where gradients are off, or perhaps off; `lost` is the graph that it would have.

    `inference` is where the inference mode makes it.
    """
    if grad is Grad.MAYBE:
        return UNKNOWN
    match result:
        case Items(elements, keys):
            return Items(tuple(without_graph(element, grad, lost, inference) for element in elements), keys)
        case Tensor():
            made = Made("inference", inference) if inference is not None else DATA.made
            return replace(DATA, made=result.made if is_computed(result) else made, dropped=lost)
        case _:
            return UNKNOWN
