"""Assignments: what a name, an attribute or an element is from now on, and what an assignment does to gradients.

It knows the targets of Python's assignments; it must not know control flow, states or rules.
"""

from __future__ import annotations

import ast
from dataclasses import replace

from gradlint.events import EventKind
from gradlint.static.lowering.algebra import held, join, parameters_in, part_of
from gradlint.static.lowering.frames import Grad
from gradlint.static.lowering.provenance import is_in_pieces, is_plain, is_ranked, tells_where, unmarked
from gradlint.static.lowering.succession import Succession
from gradlint.static.lowering.values import (
    DATA,
    NONE,
    UNKNOWN,
    Const,
    Gathered,
    Instance,
    Items,
    Kind,
    Library,
    Object,
    Params,
    Tensor,
    Unknown,
    Value,
)
from gradlint.static.syntax.idioms import goes_on
from gradlint.static.syntax.nodes import base_name, walk
from gradlint.static.syntax.questions import GRADIENT


class Assignments(Succession):
    """Binds the targets of assignments."""

    def assigned(self, targets: list[ast.expr], value: ast.expr, node: ast.stmt) -> None:
        """Lower an assignment of a value to its targets."""
        self.hint = _hint(targets[0])
        born = len(self.born)
        result = self.evaluate(value)
        self.hint = ""
        self.writes_data(targets[0], node)
        if len(targets) == 1 and self._by_gradient(targets[0], value, node):
            return
        if self._sum(targets, value, result, node):
            return
        if isinstance(result, (Object, Instance)) and result.uid in self.born[born:]:
            self.replaces(targets[0], value, result, node)
        if len(targets) == 1:
            result = self.rebinds(targets[0], value, result, node) or result
        for target in targets:
            self.assign(target, result, node)
        if isinstance(value, (ast.Compare, ast.BoolOp, ast.UnaryOp)):
            self._flagged(targets[0], value)

    def _flagged(self, target: ast.expr, value: ast.expr) -> None:
        """Remember of a flag that it is true once in so many turns."""
        cycle = self.cycle(value)
        flag: Value = UNKNOWN
        match target:
            case ast.Name(name):
                flag = self.lookup(name)
            case ast.Attribute(owner, name):
                match self.latest.get(owner):
                    case Instance(uid=uid):
                        flag = self.store.get((uid, name), UNKNOWN)
        if cycle is not None and isinstance(flag, Unknown) and flag.id:
            self.cycles[flag.id] = cycle

    def _by_gradient(self, target: ast.expr, value: ast.expr, node: ast.stmt) -> bool:
        """Whether an assignment is `w.data = w.data - rate * w.grad`."""
        return isinstance(target, ast.Attribute) and target.attr == "data" and self.updated(target, [value], node)

    def assign(self, target: ast.expr, value: Value, node: ast.AST) -> None:
        """Bind a target to a value."""
        match target:
            case ast.Name(id=name):
                self.begin((self.frame.shared.get(name, self.frame).path, name), value, node)
                if isinstance(value, Unknown) and (not value.id or isinstance(getattr(node, "value", None), ast.Call)):
                    made = self._stepped_later(name, node, value)
                    value = made or (value if value.id else self.fresh(name, node, value.holds))
                elif isinstance(value, (Tensor, Library, Items, Gathered, Params)):
                    self.renewed(f"{'/'.join(self.frame.path)}/{name}")
                self.bind(name, value)
            case ast.Tuple(elements) | ast.List(elements):
                for element, each in zip(elements, _spread(self.as_tuple(value), elements), strict=True):
                    self.assign(element, each, node)
            case ast.Starred(inner):
                self.assign(inner, Unknown(holds=held((value,))), node)
            case ast.Attribute(owner, name):
                self._assign_attribute(self.evaluate(owner), name, value, target)
            case ast.Subscript(owner, index):
                self._assign_element(owner, index, value, node)
                if isinstance(index, ast.Constant) and index.value == "lr":
                    self._rate_written(self.latest.get(owner, UNKNOWN), target)
            case _:
                return

    def _stepped_later(self, name: str, node: ast.AST, value: Unknown) -> Object | None:
        """Return the optimizer, or scaler, that somebody unknown made, where its name is asked for what only such a one does."""
        scope = self.frame.node or self.frame.module.contents.tree
        known = {self.objects[uid].kind for uid in value.holds if uid in self.objects}
        scales = name in self.syntax.scaled_by_name(scope) and Kind.SCALER not in known
        if not scales and (name not in self.syntax.stepped_by_name(scope) or Kind.OPTIMIZER in known):
            return None
        kind = Kind.SCALER if scales else Kind.OPTIMIZER
        made = Object(kind, (*self.frame.path, name), "", self.place(node))
        self.objects[made.uid] = made
        if kind is Kind.OPTIMIZER:
            self.presume(made.uid, value)
            self.emit(EventKind.ESCAPE, node, frozenset({made.uid}), roles=("another",) if _differs(node) else ())
        return made

    def _assign_attribute(self, owner: Value, name: str, value: Value, node: ast.Attribute) -> None:
        if name in ("grad", "_grad") or (
            name == "data" and isinstance(node.value, ast.Attribute) and node.value.attr == "grad"
        ):
            kind = EventKind.ZERO if value == NONE else EventKind.SETGRAD
            self.by_hand(node, owner if kind is EventKind.ZERO else UNKNOWN, kind)
        elif name == "requires_grad":
            self.frozen |= self.reach((owner,))
            if isinstance(owner, Tensor):
                self.requires_gradients(node.value, owner, value)
            elif isinstance(owner, Params) or value != Const(False):
                self.told(node, self.reach((owner,)), value)
        elif (
            name == "training"
            and value != Const(False)
            and not (isinstance(owner, Instance) and not self.is_module(owner.cls))
        ):
            self.emit(EventKind.TRAIN, node, self.reach((owner,)), ast.unparse(node.value))
        elif isinstance(owner, Object) and owner.kind is Kind.MODULE:
            self.emit(EventKind.THAW, node, frozenset({owner.uid}))
        elif isinstance(owner, Instance):
            if self.is_module(owner.cls) and not isinstance(value, (Const, Tensor)):
                self.emit(EventKind.THAW, node, frozenset({owner.uid}))
            if isinstance(value, Unknown) and not value.id:
                value = self.fresh(f"{'/'.join(owner.uid)}.{name}", node, value.holds)
            self.begin((owner.uid, name), value, node)
            self.set_member(owner.uid, name, value)
            self.kept |= held((value,))
            if isinstance(value, Object) and value.uid in self.pretrained:
                self.attributes.setdefault(value.uid, set()).add((owner.cls, name))
        elif isinstance(owner, Unknown) and owner.holds and name != "data" and not isinstance(value, (Const, Tensor)):
            # What a parameter gets as its `data` are numbers: nobody acts through them.
            self.escape(node, [value])

    def _assign_element(self, owner: ast.expr, index: ast.expr, value: Value, node: ast.AST) -> None:
        container = self.evaluate(owner)
        if self.has_room(owner, index, container):
            self.keep(owner, value, node)
        whole = _with(container, index, value) if isinstance(owner, (ast.Name, ast.Attribute)) else None
        if whole is not None:
            self.grown(owner, whole, node)
            return
        if isinstance(container, (Object, Instance)):
            self.emit(EventKind.THAW, node, self.reach((container,)))
        if not is_plain(value):
            self.forget([container])
        if isinstance(container, Unknown) and base_name(owner) in self.given():
            self.lent |= held((value,))
        if isinstance(container, Tensor) and isinstance(value, Tensor) and value.nodes and self.grad is Grad.ON:
            # The tensor now has the graph of what was written into it.
            self.grown(owner, replace(unmarked(container), nodes=container.nodes | value.nodes), node)
            return
        if isinstance(container, Object) and container.kind is Kind.MODULE:
            self.set_member(container.uid, f"*{self.place(node).row}", value)
        elif isinstance(owner, (ast.Name, ast.Attribute)) and not isinstance(container, Tensor):
            changed = Unknown(holds=held((container, value)))
            self.assign(owner, changed, node)
            self.changes(container, changed, node)
        elif isinstance(owner, ast.Subscript) and base_name(owner) and held((value,)) & self.objects.keys():
            # What holds the collection has another one in its place.
            self._assign_element(owner.value, owner.slice, Unknown(holds=held((container, value))), node)

    def _edits_gradient(self, node: ast.AugAssign, value: Value) -> bool:
        """Whether this is `w.grad *= scale`, perhaps of a part; the event is emitted here."""
        target: ast.expr = node.target
        while isinstance(target, ast.Subscript) or (isinstance(target, ast.Attribute) and target.attr == "data"):
            target = target.value
        if not isinstance(target, ast.Attribute) or target.attr not in GRADIENT:
            return False
        owner = self.evaluate(target.value)
        if isinstance(node.op, ast.Mult) and value in (Const(0), Const(0.0)):
            self.by_hand(node, owner, EventKind.ZERO)
        else:
            self.by_hand(node, UNKNOWN, EventKind.EDIT)
        return True

    def _rate_written(self, group: Value, node: ast.AST) -> None:
        """Emit that the learning rate of an optimizer was written, where a group of its parameters is in sight."""
        owners = frozenset(uid for uid in held((group,)) if uid in self.objects)
        if owners and all(self.objects[uid].kind is Kind.OPTIMIZER for uid in owners):
            self.emit(EventKind.RATE, node, owners)

    def augmented(self, node: ast.AugAssign) -> None:
        """Lower `target += value` and its like."""
        value = self.evaluate(node.value)
        self.writes_data(node.target, node)
        if self._edits_gradient(node, value):
            return
        if isinstance(node.op, (ast.Add, ast.Sub)) and self.updated(node.target, [node.value], node):
            return
        old = self.evaluate(node.target) if not isinstance(node.target, ast.Subscript) else UNKNOWN
        if not is_plain(value):
            self.forget([old if old is not UNKNOWN else self.evaluate(node.target)])
        match old, value:
            case Items(()) | Params(), _ if (
                isinstance(node.op, ast.Add) and (parameters := parameters_in(value)) is not None
            ):
                result: Value = join(old, parameters)
            case Items(), Items() if isinstance(node.op, ast.Add):
                result = Items(old.elements + value.elements)
            case (Params(), _) | (_, Params()):
                result = Unknown(holds=held((old, value)))
            case _:
                result = (
                    self.arithmetic(old, node.op, value, node)
                    if isinstance(value, Tensor) and (isinstance(old, (Tensor, Const)) or value.nodes)
                    else UNKNOWN
                )
        if isinstance(node.op, ast.Add) and (self.grad is Grad.ON or isinstance(value, Items)):
            self.keep(node.target, value, node)
        self.grown(node.target, result, node)

    def _sum(self, targets: list[ast.expr], value: ast.expr, result: Value, node: ast.stmt) -> bool:
        """Whether an assignment is `total = total + loss`; it is made here."""
        if not isinstance(value, (ast.BinOp, ast.IfExp)):
            return False
        match targets, value:
            case [ast.Name(name) as target], ast.BinOp(ast.Name(left), ast.Add(), right) if name == left:
                if self.grad is Grad.ON:
                    self.keep(target, self.latest[right], node)
                self.grown(target, result, node)
                return True
            case [ast.Name(name) as target], _ if self.grad is Grad.ON and goes_on(value, name):
                # `mean = (mean * i + loss) / (i + 1)`
                self.keep(target, result, node)
                return False
            case _:
                return False


def _hint(target: ast.expr) -> str:
    match target:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Tuple(elements) | ast.List(elements):
            return ",".join(map(_hint, elements))
        case ast.Subscript():
            return ast.unparse(target)
        case _:
            return ""


def _with(container: Value, index: ast.expr, value: Value) -> Items | None:
    """Return a dict of tensors, or of objects, with one more, or any one with another value under its key."""
    sorts = (Tensor,) if isinstance(value, Tensor) else (Object, Instance)
    match container, index:
        case Items(elements, tuple() as keys), ast.Constant(key) if all(
            isinstance(each, sorts) for each in (*elements, value)
        ):
            known = dict(zip(keys, elements, strict=True)) | {key: value}
            return Items(tuple(known.values()), tuple(known))
        case Items(elements, tuple() as keys), ast.Constant(key) if key in keys:
            # What else is in there stays what it is: a model and its optimizer, beside the number of the step.
            return Items(tuple(value if each == key else old for each, old in zip(keys, elements, strict=True)), keys)
        case _:
            return None


def _spread(value: Value, targets: list[ast.expr]) -> list[Value]:
    match value:
        case Items(elements, None) if len(elements) == len(targets):
            return list(elements)
        case Params():
            return [value] * len(targets)
        case Tensor() if is_in_pieces(value):
            return [unmarked(value)] * len(targets)
        case Tensor() if is_ranked(value) and len(targets) == 2:
            return [unmarked(value), DATA]
        case Tensor(nodes) if not any(node.sure for node in nodes):
            return [_part(value, index, part_of(value, f"[{index}]")) for index in range(len(targets))]
        case _:
            return [_part(value, index, Unknown(holds=held((value,)))) for index in range(len(targets))]


def _differs(node: ast.AST) -> bool:
    """Whether what a statement binds may be another one each time: a loop's variable, what an index or an argument chose."""
    value = getattr(node, "value", None)
    return value is None or any(
        bool(each.args or each.keywords)
        if isinstance(each, ast.Call)
        else isinstance(each, ast.Subscript) and not isinstance(each.slice, ast.Constant)
        for each in walk(value)
    )


def _part(whole: Value, index: int, part: Value) -> Value:
    return DATA if tells_where(whole, index) else part
