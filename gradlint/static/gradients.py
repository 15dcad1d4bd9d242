"""Gradients: running a module, running backward, clearing and assigning by hand.

It knows graph parts and events; it must not know states or rules.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.static.algebra import graph_of, held, part_of, parts, scalers_of
from gradlint.static.arithmetic import combined
from gradlint.static.classes import Classes
from gradlint.static.endings import SEQUENCES
from gradlint.static.frames import Grad
from gradlint.static.library import made_by, words
from gradlint.static.nodes import walk
from gradlint.static.notes import Compared, Descent, Refused
from gradlint.static.provenance import is_computed, is_leaf, is_of_inference, lost_by, marked, requiring, unmarked
from gradlint.static.tree import (
    GraphNode,
    Uid,
)
from gradlint.static.values import (
    DATA,
    NONE,
    UNKNOWN,
    Const,
    Dropped,
    Items,
    Kind,
    Library,
    Made,
    Object,
    Params,
    Tensor,
    Unknown,
    Value,
    const,
    unknown_uid,
)

_ENDLESS = frozenset({Library("math.inf"), Library("torch.inf"), Library("numpy.inf")})
_LEAF = "leaf@"
"""How the name of a tensor of its own begins: it has the place at which it is made."""
_KEEPING = ("retain_graph", "create_graph", "retain_variables", "**")
"""Arguments by which a backward pass keeps the graph (the third is of torch before 0.3)."""


class Gradients(Classes):
    """Emits what happens to graphs and gradients."""

    def by_hand(self, node: ast.AST, owner: Value, kind: EventKind, roles: tuple[str, ...] = ()) -> None:
        """Emit that the gradients of `owner`, a parameter, were cleared or assigned without an optimizer."""
        self.emit(kind, node, parameters_of(owner), roles=("module", "by-hand", *roles))

    def gradient_read(self, gradient: ast.Attribute, node: ast.AST) -> None:
        """Emit that `gradient`, the `.grad` of a parameter that is known, is taken for a tensor."""
        owner = parameters_of(self.latest.get(gradient.value, UNKNOWN))
        if owner is not None and not self.perhaps:
            self.emit(EventKind.READ, node, owner, ast.unparse(gradient))

    def leaf(self, value: Tensor, node: ast.AST) -> Tensor:
        """Return a tensor that begins to require gradients at `node` as somebody who can be told from others."""
        if not is_leaf(value):
            return value
        uid = (*self.frame.path, f"{_LEAF}{getattr(node, 'lineno', 0)}:{getattr(node, 'col_offset', 0)}")
        self.emit(EventKind.CREATE, node, frozenset({uid}))
        return replace(value, leaves=frozenset({uid}))

    def told(self, node: ast.AST, targets: frozenset[Uid], flag: Value) -> None:
        """Emit that parameters were told whether to require gradients; what is not known to freeze them may thaw them."""
        self.emit(EventKind.FREEZE if const(flag) is False else EventKind.THAW, node, targets)

    def _changes_gradient(self, method: ast.Attribute) -> bool:
        """Whether this is a call like `p.grad.zero_()`; its event is emitted here."""
        owner = method.value
        if isinstance(owner, ast.Attribute) and owner.attr == "data":
            owner = owner.value
        if not isinstance(owner, ast.Attribute) or owner.attr not in ("grad", "_grad"):
            return False
        self.gradient_read(owner, method)
        if method.attr == "zero_":
            self.by_hand(method, self.latest.get(owner.value, UNKNOWN), EventKind.ZERO, ("fills",))
        elif method.attr in ("copy_", "fill_", "set_"):
            self.by_hand(method, UNKNOWN, EventKind.SETGRAD)
        elif method.attr.endswith("_"):
            self.by_hand(method, UNKNOWN, EventKind.EDIT)
        return True

    def clip(self, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Clip gradients by a function of torch."""
        given = args[0] if args else named.get("parameters", UNKNOWN)
        bound = args[1] if len(args) > 1 else named.get("max_norm", named.get("clip_value", UNKNOWN))
        spelled = ast.unparse(node.args[0]) if node.args else self.spelled(node)
        self.clipped(node, self._clipped(given), bound, spelled)
        return UNKNOWN

    def clipped(self, node: ast.Call, targets: frozenset[Uid] | None, bound: Value, spelled: str) -> None:
        """Emit that the gradients of `targets` are clipped; an infinite bound only measures them."""
        if const(bound) != math.inf and bound not in _ENDLESS:
            self.emit(EventKind.CLIP, node, targets, spelled)

    def _clipped(self, value: Value) -> frozenset[Uid] | None:
        """Return whose gradients a clipping function gets, as modules or optimizers; None where that is not known."""
        match value:
            case Params(of):
                return of
            case Items(elements) if elements:
                found = [self._clipped(element) for element in elements]
                return None if None in found else frozenset(uid for each in found for uid in each or ())
            case Unknown(holds=holds):
                known = frozenset(uid for uid in holds if uid in self.objects)
                return known or None
            case _:
                return None

    def _detached_in_place(self, target: ast.expr, node: ast.Call) -> None:
        match target:
            case ast.Name():
                self.assign(target, DATA, node)
            case ast.Subscript(ast.Name() as owner):
                self.assign(owner, UNKNOWN, node)

    def requires_gradients(self, target: ast.expr, tensor: Tensor, flag: Value) -> Value:
        """Tell `tensor`, which `target` names, to require gradients, and return it."""
        if const(flag) is False and not tensor.leaves:
            return tensor
        self.forget([tensor])
        told = requiring(tensor, self.place(target)) if const(flag) is True else unmarked(tensor)
        told = self.leaf(told, target)
        if isinstance(target, (ast.Name, ast.Attribute)):
            self.grown(target, told, target)
        return told

    def grown(self, target: ast.expr, value: Value, node: ast.AST) -> None:
        """Bind a target that grew in place: where it began does not change."""
        begun = dict(self.begun)
        self.assign(target, value, node)
        self.begun = begun

    def backward(self, node: ast.Call, roots: list[Value], named: dict[str, Value], by: tuple[str, ...] = ()) -> Value:
        """Emit a backward pass from the given roots, with the words `by` that say who runs it."""
        roots = [*roots, *self._with_graphs(node, roots)]
        nodes = frozenset(part for root in roots if isinstance(root, Tensor) for part in root.nodes)
        roles = [*by]
        if any(const(named.get(key, Const(False))) is not False for key in _KEEPING):
            roles.append("retain")
        if "inputs" in named:
            self.emit(EventKind.ESCAPE, node, None)
            roles.append("partial")
        if self.autocast:
            roles.append("autocast")
        scalers, sure = self._scaled(roots)
        if not sure:
            roles.append("perhaps-scaled")
        event = self.emit(EventKind.BACKWARD, node, None, self._spelled_receiver(node), nodes, roles, scalers)
        self.descents.append(Descent(node, tuple(roots), named, event, self.frame.node))
        return NONE

    def _with_graphs(self, node: ast.Call, roots: list[Value]) -> Iterator[Tensor]:
        """Yield what names stand for from a backward pass on, whose graph nobody has seen: they have one."""
        receiver = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        for written in (*receiver, *node.args) if self.grad is Grad.ON else ():
            value = self.latest.get(written)
            plain = isinstance(written, ast.Name) and value in roots and self._is_used_as_tensor(written.id)
            if isinstance(written, ast.Name) and plain and _may_have_graph(value):
                part = GraphNode(self.place(written), unknown_uid(written.id), sure=False)
                known = replace(value if isinstance(value, Tensor) else Tensor(), nodes=frozenset({part}))
                self.bind(written.id, known)
                yield known

    def _is_used_as_tensor(self, name: str) -> bool:
        """Whether what a name stands for here is asked for nothing but what tensors are asked for."""
        scope = self.frame.node or self.frame.module.contents.tree
        return self.syntax.asked_of(scope, name) <= words("tensor", "cut") | words("tensor", "keep") | {"backward"}

    def _scaled(self, roots: list[Value]) -> tuple[frozenset[Uid], bool]:
        """Return the gradient scalers that have multiplied the roots of a backward pass, and whether that is certain."""
        known = [part for root in roots for part in parts(root) if isinstance(part, Tensor)]
        perhaps = frozenset(uid for uid in held(roots) if (made := self.objects.get(uid)) and made.kind is Kind.SCALER)
        return scalers_of(known) | perhaps, not perhaps and all(tensor.sure for tensor in known)

    def _autograd_grad(self, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Emit that gradients are computed aside; with `create_graph=True` they have a graph, else they have lost it."""
        roots = [args[0]] if args else [named.get("outputs", UNKNOWN)]
        nodes = frozenset(part for root in roots if isinstance(root, Tensor) for part in root.nodes)
        inputs = args[1] if len(args) > 1 else named.get("inputs", UNKNOWN)
        roles = ("autograd-grad", *(("of-parameters",) if isinstance(inputs, Params) else ()))
        event = self.emit(EventKind.RETAIN, node, None, "", nodes, roles)
        descent = Descent(node, tuple(roots), named, event, self.frame.node)
        self.descents.append(descent)
        graph = const(args[4]) is True or None if len(args) > 4 else descent.flag("create_graph")
        if graph is None or not nodes or self.grad is Grad.MAYBE:
            return UNKNOWN
        return Tensor(nodes) if graph else replace(DATA, dropped=lost_by("grad", self.place(node), roots))

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

    def _ran(self, uid: Uid, node: ast.AST, sure: bool = True, roles: tuple[str, ...] = ()) -> GraphNode:
        made = GraphNode(self.place(node), uid, sure=sure)
        if uid in self.parallel and isinstance(node, ast.Call) and _past_the_wrapper(node.func):
            self.bypassed[made.place] = ast.unparse(node.func)
        self.emit(EventKind.FORWARD, node, frozenset({uid}), self.spelled(node), frozenset({made}), roles)
        return made

    def _ran_by_owner(self, uid: Uid, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Run a module, or what has modules, whose source is not in sight: its output may carry its graph."""
        made = self._ran(uid, node, sure=False, roles=("method",))
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
        made = self._ran(module.uid, node, sure=module.origin.startswith("torch."))
        op = self.output(module)
        if self.grad is not Grad.ON:
            result = self.ungraphed(DATA, node, (*values, Tensor(frozenset({made}))), computed=True)
            return marked(result, op, self.place(node))
        if self._saves_input(module):
            self.refuse(node, args[:1], frozenset({made}))
        self.escape(node, [value for value in values if not isinstance(value, Tensor)])
        given = graph_of(values)
        result = Tensor(given | {made})
        if module.origin in ("torch.nn.RNN", "torch.nn.GRU"):
            return Items((result, result))
        if module.origin == "torch.nn.LSTM":
            return Items((result, Items((result, result))))
        return marked(result, op, self.place(node)) if op else self._ended(module, result)

    def _ended(self, module: Object, result: Tensor) -> Value:
        """Return the result of a module of another file with what its `forward` certainly ends in."""
        cls = self.instances.get(module.uid)
        # One of several classes has no origin.
        endings = self.endings(cls) if cls is not None and cls.node.name == module.origin else ()
        if not any(endings):
            return result
        parts = [result] if len(endings) == 1 else [part_of(result, f"[{i}]") for i in range(len(endings))]
        ended = [replace(part, made=made) for part, made in zip(parts, endings, strict=True)]
        return ended[0] if len(ended) == 1 else Items(tuple(ended))

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
                return Items(tuple(self._collapsed(element, made, args) for element in elements), keys)
            case Unknown():
                return Tensor(given | {replace(made, sure=False)})
            case _:
                return result

    def spelled(self, node: ast.AST) -> str:
        """Return how the user writes the callee, or the receiver of a method, of a call."""
        return ast.unparse(node.func) if isinstance(node, ast.Call) else ""

    def _spelled_receiver(self, node: ast.Call) -> str:
        return ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)


def _past_the_wrapper(callee: ast.expr) -> bool:
    """Whether a callee is `ddp.module` or `ddp.module.forward`."""
    match callee:
        case ast.Attribute(attr="module") | ast.Attribute(ast.Attribute(attr="module"), "forward"):
            return True
        case _:
            return False


def _may_have_graph(value: Value | None) -> bool:
    """Whether nothing is known of the graph of a value: not that it has one, nor that it has none."""
    match value:
        case Unknown():
            return True
        case Tensor(nodes=nodes, cut=cut, dropped=dropped):
            return not nodes and cut is None and not dropped and is_computed(value)
        case _:
            return False


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


def is_own(uid: Uid) -> bool:
    """Whether a subject is a tensor that began to require gradients by itself, in no module."""
    return uid[-1].startswith(_LEAF)


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
