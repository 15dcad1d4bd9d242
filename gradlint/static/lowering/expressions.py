"""Expressions: what a piece of Python evaluates to.

It knows Python's expression syntax and values; calls are another layer's.
"""

from __future__ import annotations

import ast

from gradlint.static.flow.tree import Atom, Predicate
from gradlint.static.lowering.algebra import held, join, parameters_in, part_of
from gradlint.static.lowering.comprehensions import Comprehensions, mixture
from gradlint.static.lowering.modules import ITSELF
from gradlint.static.lowering.provenance import cut, tells_where
from gradlint.static.lowering.values import (
    DATA,
    UNKNOWN,
    Choice,
    Const,
    Function,
    Gathered,
    Items,
    Kind,
    Library,
    Object,
    Params,
    Tensor,
    Unknown,
    Value,
    const,
)
from gradlint.static.sources.library import words
from gradlint.static.syntax.nodes import children, parameters
from gradlint.static.syntax.questions import GRADIENT, FunctionNode


class Expressions(Comprehensions):
    """Evaluates expressions."""

    def evaluate(self, node: ast.expr) -> Value:
        """Return the value of an expression and emit the events of computing it."""
        # Nine of ten expressions are of these kinds: no patterns, see `tree.walk`.
        if type(node) is ast.Name:
            return self.note(node, self.lookup(node.id))
        if type(node) is ast.Attribute:
            return self.note(node, self._attribute(node))
        if type(node) is ast.Call:
            return self.note(node, self.evaluate_call(node))
        if type(node) is ast.Constant:
            return self.note(node, Const(node.value))
        return self.note(node, self._seldom(node))

    def _seldom(self, node: ast.expr) -> Value:
        # In the order of how often they come, as statements are.
        match node:
            case ast.BinOp():
                return self._binary(self.evaluate(node.left), node.op, self.evaluate(node.right), node)
            case ast.JoinedStr() | ast.FormattedValue() | ast.Slice():
                return self._others(node)
            case ast.Compare(left, [op, *_], others):
                return self._comparison([left, *others], op, node)
            case ast.Subscript(ast.Attribute(ast.Name("sys"), "modules"), ast.Name("__name__")):
                return Library(ITSELF)
            case ast.Subscript(owner, index):
                return self._element(self.as_tuple(self.evaluate(owner)), self.evaluate(index))
            case ast.Tuple(elements) | ast.List(elements) | ast.Set(elements):
                return self._display(elements)
            case ast.Dict(keys, values):
                return self._mapping(keys, values)
            case ast.UnaryOp(op, operand):
                value = self.evaluate(operand)
                return value if isinstance(value, Tensor) and not isinstance(op, ast.Not) else UNKNOWN
            case ast.IfExp(test, body, orelse):
                return self._choice(self.condition(test), body, orelse)
            case ast.BoolOp(op, values):
                return self._either(op, values)
            case ast.Lambda():
                self.frame.captured = True
                return Function(node, self.frame.path)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
                return self.comprehension(node.generators, (node.elt,), ordered=isinstance(node, ast.ListComp))
            case ast.DictComp():
                return self.comprehension(node.generators, (node.key, node.value), ordered=True)
            case ast.NamedExpr(target, given):
                result = self.evaluate(given)
                self.bind(target.id, result)
                return result
            case ast.Starred(value) | ast.Await(value):
                return self.evaluate(value)
            case ast.Yield() | ast.YieldFrom():
                return self._yielded(node)
            case _:
                return self._others(node)

    def _yielded(self, node: ast.Yield | ast.YieldFrom) -> Value:
        """Hand a value to whoever goes through a generator, who has all in his hands until the next one that it did not make itself."""
        if node.value is not None:
            self.frame.yielded.append(self.evaluate(node.value))
        function = self.frame.node
        if self.frame.pauses and isinstance(function, FunctionNode):
            shared = parameters(function.args) | (self.syntax.mentioned(function) - self.syntax.assigned(function))
            self.escape(node, [*self.frame.yielded[-1:], *map(self.lookup, sorted(shared))])
        return UNKNOWN

    def _attribute(self, node: ast.Attribute) -> Value:
        owner = node.value
        value = self.attribute(self.evaluate(owner), node.attr, node)
        if isinstance(owner, ast.Attribute) and owner.attr in GRADIENT:
            self.gradient_read(owner, node)
        return value

    def gradient_read(self, gradient: ast.Attribute, node: ast.AST) -> None:
        """Emit that a gradient is taken for a tensor; the layer of gradients knows how."""
        raise NotImplementedError

    def as_tuple(self, value: Value) -> Value:
        """Return a record as the tuple that it is; the layer of classes knows how."""
        raise NotImplementedError

    def evaluate_call(self, node: ast.Call) -> Value:
        """Evaluate a call; the layer above knows how."""
        raise NotImplementedError

    def _comparison(self, operands: list[ast.expr], op: ast.cmpop, node: ast.Compare) -> Value:
        values = [self.evaluate(operand) for operand in operands]
        tensors = len(values) == 2 and isinstance(op, (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE))
        return cut(self.place(node)) if tensors and any(isinstance(value, Tensor) for value in values) else UNKNOWN

    def _others(self, node: ast.expr) -> Value:
        for child in children(node):
            if isinstance(child, ast.expr):
                self.evaluate(child)
        return UNKNOWN

    def _display(self, elements: list[ast.expr]) -> Value:
        hint, values = self.hint, []
        for index, element in enumerate(elements):
            self.hint = f"{hint}[{index}]"
            values.append(self.evaluate(element))
        self.hint = hint
        if any(isinstance(element, ast.Starred) for element in elements):
            return mixture(values)
        return Items(tuple(values))

    def _mapping(self, keys: list[ast.expr | None], values: list[ast.expr]) -> Value:
        names = [const(self.evaluate(key)) if key is not None else ... for key in keys]
        results = []
        hint = self.hint
        for name, value in zip(names, values, strict=True):
            self.hint = f"{hint}[{name!r}]"
            results.append(self.evaluate(value))
        self.hint = hint
        if any(name is ... for name in names):
            return mixture(results)
        return Items(tuple(results), tuple(names))

    def _element(self, owner: Value, index: Value) -> Value:
        wanted = const(index)
        match owner:
            case Items(elements, None) if isinstance(wanted, int) and -len(elements) <= wanted < len(elements):
                return elements[wanted]
            case Items(elements, keys) if keys is not None and wanted in keys:
                return elements[keys.index(wanted)]
            case Tensor() if tells_where(owner, wanted):
                return DATA
            case Tensor(nodes) if nodes and wanted is not ... and not any(node.sure for node in nodes):
                return part_of(owner, f"[{wanted!r}]")
            case Tensor():
                return owner
            case Object(kind=Kind.MODULE):
                return self.submodule(owner, str(wanted))
            case Items(elements) if elements:
                one = self._common(elements)
                return one if isinstance(one, (Library, Choice)) else mixture(elements)
            case Unknown(id=id_, holds=holds) if id_ and wanted is not ...:
                return Unknown(f"{id_}[{wanted!r}]", frozenset() if wanted in words("module", "numbers") else holds)
            case _ if wanted in words("module", "numbers"):
                return UNKNOWN  # A number of a group of parameters has no hold on its optimizer.
            case Gathered():
                return self.one_of_many(owner)
            case Params() if isinstance(index, Params) or (isinstance(index, Unknown) and index.id):
                return owner  # One of those that a name goes through, as in a loop over them.
            case _:
                return Unknown(holds=self.reach((owner,)))

    def _common(self, elements: tuple[Value, ...]) -> Value:
        """Return what is known of one of many elements."""
        one = elements[0]
        for other in elements[1:]:
            if type(one) is Unknown and not one.id:
                break  # It may be anybody: whoever comes beside it makes it nobody.
            one = self.either(one, other)
        return one

    def _binary(self, left: Value, op: ast.operator, right: Value, node: ast.AST) -> Value:
        match left, right:
            case (Params(), Params()):
                return join(left, right)
            case (Items(a, None), Items(b, None)) if isinstance(op, ast.Add):
                return Items(a + b)
            case (Params(), _) | (_, Params()):
                both = parameters_in(Items((left, right))) if isinstance(op, ast.Add) else None
                return both or Unknown(holds=held((left, right)))
            case _:
                return self.arithmetic(left, op, right, node)

    def _choice(self, test: Predicate, body: ast.expr, orelse: ast.expr) -> Value:
        results: list[Value] = []
        self.fork(test, lambda: results.append(self.evaluate(body)), lambda: results.append(self.evaluate(orelse)))
        if len(results) == 1:
            return results[0]
        with self.decided_by(test):
            return self.chosen(self.hint, results[0], results[1])

    def _either(self, op: ast.boolop, values: list[ast.expr]) -> Value:
        first, *rest = values
        result = self.evaluate(first)
        for other in rest:
            known = self.truth(result)
            if known is not None and known is isinstance(op, ast.Or):
                return result
            value = self._perhaps(other)
            result = value if known is not None else join(result, value)
        return result

    def _perhaps(self, node: ast.expr) -> Value:
        """Evaluate an operand that runs on some paths only."""
        found: list[Value] = []
        test = Atom(f"either@{node.lineno}:{node.col_offset}")
        self.perhaps += 1
        self.fork(test, lambda: found.append(self.evaluate(node)), lambda: None)
        self.perhaps -= 1
        return found[0]
