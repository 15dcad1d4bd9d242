"""Gradients: running backward, clipping, clearing and assigning by hand.

It knows graph parts and events; it must not know states or rules.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from dataclasses import replace

from gradlint.events import EventKind
from gradlint.static.flow.tree import GraphNode, Uid
from gradlint.static.lowering.algebra import held, parameters_of, parts, scalers_of
from gradlint.static.lowering.arithmetic import elements_of
from gradlint.static.lowering.forwards import Forwards
from gradlint.static.lowering.frames import Grad
from gradlint.static.lowering.notes import Descent
from gradlint.static.lowering.provenance import is_computed, is_leaf, lost_by, requiring, unmarked
from gradlint.static.lowering.values import (
    DATA,
    NONE,
    UNKNOWN,
    Const,
    Items,
    Kind,
    Library,
    Object,
    Params,
    Tensor,
    Unknown,
    Value,
    const,
    unknown_uid,
)
from gradlint.static.sources.library import words
from gradlint.static.syntax.nodes import spelled

_ENDLESS = frozenset({Library("math.inf"), Library("torch.inf"), Library("numpy.inf")})
_LEAF = "leaf@"
"""How the name of a tensor of its own begins: it has the place at which it is made."""
_KEEPING = ("retain_graph", "create_graph", "retain_variables", "**")
"""Arguments by which a backward pass keeps the graph (the third is of torch before 0.3)."""


class Gradients(Forwards):
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
            scaled = any(map(_grows_with_scale, (*node.args, *(each.value for each in node.keywords))))
            self.emit(EventKind.CLIP, node, targets, spelled, roles=("scaled-bound",) if scaled else ())

    def _clipped(self, value: Value) -> frozenset[Uid] | None:
        """Return whose gradients a clipping function gets, as modules or optimizers; None where that is not known."""
        match value:
            case Params(of):
                return None if of is None else self.with_contained(of)
            case Object(kind=Kind.OPTIMIZER, uid=uid):
                return frozenset({uid})
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
        begun, old = dict(self.begun), self.latest.get(target, UNKNOWN)
        self.assign(target, value, node)
        self.changes(old, value, node)
        self.begun = begun

    def backward(self, node: ast.Call, roots: list[Value], named: dict[str, Value], by: tuple[str, ...] = ()) -> Value:
        """Emit a backward pass from the given roots, with the words `by` that say who runs it."""
        name = self._spelled_root(node, roots)
        roots = [*elements_of(roots), *self._with_graphs(node, roots)]
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
        event = self.emit(EventKind.BACKWARD, node, None, name, nodes, roles, scalers)
        self.descents.append(Descent(node, tuple(roots), named, event, self.frame.node))
        return NONE

    def _with_graphs(self, node: ast.Call, roots: list[Value]) -> Iterator[Tensor]:
        """Yield what names stand for from a backward pass on, whose graph nobody has seen: they have one."""
        receiver = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        for given in (*receiver, *node.args) if self.grad is Grad.ON else ():
            written = self._unscaled(given)
            value = self.latest.get(written)
            if not isinstance(written, ast.Name) or value is None or (written is given and value not in roots):
                continue
            if _may_have_graph(value) and self._is_used_as_tensor(written.id):
                part = GraphNode(self.place(written), unknown_uid(written.id), sure=False)
                known = replace(value if isinstance(value, Tensor) else Tensor(), nodes=frozenset({part}))
                self.bind(written.id, known)
                self.turned_out(value, part)
                self._terms_too(written.id, part)
                yield known

    def _terms_too(self, name: str, part: GraphNode) -> None:
        """Remember of a sum that turned out to have a graph that its terms have one: they were computed of the same thing."""
        scope = self.frame.node or self.frame.module.contents.tree
        for term in self.syntax.terms_by_name(scope).get(name, ()):
            value = self.lookup(term)
            if _may_have_graph(value) and self._is_used_as_tensor(term):
                known = value if isinstance(value, Tensor) else Tensor()
                self.bind(term, replace(known, nodes=frozenset({part})))
                self.turned_out(value, part)

    def _unscaled(self, written: ast.expr) -> ast.expr:
        """Return what is only multiplied by a number, or by a gradient scaler: `loss` of `(loss / 4)` and of `scaler.scale(loss)`."""
        match written:
            case ast.BinOp(inner, ast.Div() | ast.Mult(), ast.Constant()):
                return inner
            case ast.Call(ast.Attribute(owner, "scale"), [inner]):
                known = self.latest.get(owner)
                return inner if isinstance(known, Object) and known.kind is Kind.SCALER else written
            case _:
                return written

    def _is_used_as_tensor(self, name: str) -> bool:
        """Whether what a name stands for here is asked for nothing but what tensors are asked for."""
        scope = self.frame.node or self.frame.module.contents.tree
        return self.syntax.asked_of(scope, name) <= words("tensor", "cut", "keep") | {"backward"}

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

    def _spelled_root(self, node: ast.Call, roots: list[Value]) -> str:
        """Return how the user writes what a backward pass begins at: its receiver, or what it is given by somebody who runs it."""
        own = node.func.value if isinstance(node.func, ast.Attribute) else node.func
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        its_own = not given or any(self.latest.get(own) is root for root in roots)
        return spelled(own if its_own else given[0])

    def _spelled_receiver(self, node: ast.Call) -> str:
        return spelled(node.func.value if isinstance(node.func, ast.Attribute) else node.func)


def _may_have_graph(value: Value | None) -> bool:
    """Whether nothing is known of the graph of a value: not that it has one, nor that it has none."""
    match value:
        case Unknown():
            return True
        case Tensor(nodes=nodes, cut=cut, dropped=dropped):
            return not nodes and cut is None and not dropped and is_computed(value)
        case _:
            return False


def is_own(uid: Uid) -> bool:
    """Whether a subject is a tensor that began to require gradients by itself, in no module."""
    return uid[-1].startswith(_LEAF)


def _grows_with_scale(bound: ast.expr) -> bool:
    """Whether an argument is a product with the scale of a loss: a bound on gradients that are still scaled."""
    if not isinstance(bound, ast.BinOp) or not isinstance(bound.op, ast.Mult):
        return False
    return any("scale" in ast.unparse(factor) for factor in (bound.left, bound.right))
