"""Expressions: what a piece of Python evaluates to, and the conditions that branches stand on.

It knows Python's expression syntax and values; calls are another layer's.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from gradlint.static.context import Context, const
from gradlint.static.library import words
from gradlint.static.tree import Atom, Both, Known, Loop, Not, Predicate, Seq
from gradlint.static.values import (
    DATA,
    NONE,
    UNKNOWN,
    Class,
    Const,
    Function,
    Instance,
    Items,
    Kind,
    Library,
    Method,
    Object,
    Params,
    Super,
    Tensor,
    Unknown,
    Value,
    held,
    join,
)

MODULE_METHODS = frozenset(
    "parameters named_parameters zero_grad train eval to cuda cpu half double float bfloat16 apply requires_grad_ "
    "state_dict load_state_dict modules named_modules children named_children buffers named_buffers forward compile "
    "register_forward_hook register_buffer register_parameter register_module add_module share_memory".split()
)


class Expressions(Context):
    """Evaluates expressions."""

    def evaluate(self, node: ast.expr) -> Value:
        """Return the value of an expression and emit the events of computing it."""
        return self.note(node, self._evaluate(node))

    def _evaluate(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value):
                return Const(value)
            case ast.Name(name):
                return self.lookup(name)
            case ast.Attribute(owner, name):
                return self.attribute(self.evaluate(owner), name, node)
            case ast.Call():
                return self.evaluate_call(node)
            case ast.Tuple(elements) | ast.List(elements) | ast.Set(elements):
                return self._display(elements)
            case ast.Dict(keys, values):
                return self._mapping(keys, values)
            case ast.Subscript(owner, index):
                return self._element(self.evaluate(owner), self.evaluate(index))
            case ast.BinOp(left, op, right):
                return self._binary(self.evaluate(left), op, self.evaluate(right))
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
                return self._comprehension(node.generators, (node.elt,))
            case ast.DictComp():
                return self._comprehension(node.generators, (node.key, node.value))
            case ast.NamedExpr(target, value):
                result = self.evaluate(value)
                self.bind(target.id, result)
                return result
            case ast.Starred(value) | ast.Await(value):
                return self.evaluate(value)
            case _:
                return self._others(node)

    def evaluate_call(self, node: ast.Call) -> Value:
        """Evaluate a call; the layer above knows how."""
        raise NotImplementedError

    def _others(self, node: ast.expr) -> Value:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.evaluate(child)
        return UNKNOWN

    # Collections ------------------------------------------------------------------------------

    def _display(self, elements: list[ast.expr]) -> Value:
        hint, values = self.hint, []
        for index, element in enumerate(elements):
            self.hint = f"{hint}[{index}]"
            values.append(self.evaluate(element))
        self.hint = hint
        if any(isinstance(element, ast.Starred) for element in elements):
            return _mixture(values)
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
            return _mixture(results)
        return Items(tuple(results), tuple(names))

    def _element(self, owner: Value, index: Value) -> Value:
        wanted = const(index)
        match owner:
            case Items(elements, None) if isinstance(wanted, int) and -len(elements) <= wanted < len(elements):
                return elements[wanted]
            case Items(elements, keys) if keys is not None and wanted in keys:
                return elements[keys.index(wanted)]
            case Tensor():
                return owner
            case Object(kind=Kind.MODULE):
                return self.submodule(owner, str(wanted))
            case Items(elements) if elements:
                return _mixture(elements)
            case Unknown(id=id_, holds=holds) if id_ and wanted is not ...:
                return Unknown(f"{id_}[{wanted!r}]", holds)
            case _:
                return Unknown(holds=self.reach((owner,)))

    def submodule(self, owner: Object, name: str) -> Value:
        """Return the part `name` of a module of a library."""
        return Object(Kind.MODULE, (*owner.uid, name), "", owner.place)

    def iterated(self, value: Value) -> Value:
        """Return what a loop over `value` gets each time."""
        match value:
            case Items(elements, None) if elements:
                result = elements[0]
                for element in elements[1:]:
                    result = join(result, element)
                return result
            case Items(keys=keys) if keys is not None:
                return UNKNOWN
            case Tensor() | Params():
                return value
            case _:
                return Unknown(holds=self.reach((value,)))

    def _comprehension(self, generators: list[ast.comprehension], results: Iterable[ast.expr]) -> Value:
        first, *rest = generators
        source = self.evaluate(first.iter)
        number = self.number(first)
        outer, self.loops = self.loops, (*self.loops, number)
        with self.aside() as out:
            self.assign(first.target, self.iterated(source), first.target)
            for test in first.ifs:
                self.evaluate(test)
            if rest:
                value = self._comprehension(rest, results)
            else:
                value = _mixture([self.evaluate(result) for result in results])
        self.loops = outer
        if out:
            body = Seq(tuple(out))
            self.out.append(Loop(number, body, body, Seq(())))
        return value

    def assign(self, target: ast.expr, value: Value, node: ast.AST) -> None:
        """Bind a target; the layer of statements knows how."""
        raise NotImplementedError

    # Operators --------------------------------------------------------------------------------

    def _binary(self, left: Value, op: ast.operator, right: Value) -> Value:
        match left, right:
            case (Params(), Params()):
                return join(left, right)
            case (Items(a, None), Items(b, None)) if isinstance(op, ast.Add):
                return Items(a + b)
            case (Params(), _) | (_, Params()):
                return Unknown(holds=held((left, right)))
            case _:
                return combined((left, right))

    def _choice(self, test: Predicate, body: ast.expr, orelse: ast.expr) -> Value:
        results: list[Value] = []
        self.fork(test, lambda: results.append(self.evaluate(body)), lambda: results.append(self.evaluate(orelse)))
        return results[0] if len(results) == 1 else join(results[0], results[1])

    def _either(self, op: ast.boolop, values: list[ast.expr]) -> Value:
        first, *rest = values
        result = self.evaluate(first)
        for value in rest:
            known = self.truth(result)
            if known is not None and known is isinstance(op, ast.Or):
                return result
            others: list[Value] = []
            test = Atom(f"either@{value.lineno}:{value.col_offset}")
            self.fork(test, lambda value=value: others.append(self.evaluate(value)), lambda: None)  # type: ignore[misc]
            result = others[0] if known is not None else join(result, others[0])
        return result

    # Attributes -------------------------------------------------------------------------------

    def attribute(self, owner: Value, name: str, node: ast.expr) -> Value:
        """Return the attribute `name` of a value."""
        match owner:
            case Library(dotted):
                return Library(f"{dotted}.{name}")
            case Instance():
                return self.member(owner, name, node)
            case Class():
                return self.class_member(owner, name)
            case Super() | Function():
                return Method(owner, name)
            case Object(kind=Kind.MODULE):
                if name == "module":
                    return owner
                return Method(owner, name) if name in MODULE_METHODS else self.submodule(owner, name)
            case Object():
                return Method(owner, name)
            case Tensor():
                return self._tensor_attribute(owner, name)
            case Unknown(id=id_, holds=holds):
                return Unknown(f"{id_}.{name}" if id_ else "", holds)
            case Params() | Items():
                return Method(owner, name)
            case _:
                return UNKNOWN

    def _tensor_attribute(self, owner: Tensor, name: str) -> Value:
        if name == "data":
            return DATA
        if name in ("T", "mT", "H", "real", "imag"):
            return owner
        if name in words("tensor", "keep") | words("tensor", "cut"):
            return Method(owner, name)
        # What an unknown module returned may be a record: its parts carry its graph.
        record = owner.nodes and not any(node.sure for node in owner.nodes) and name not in words("tensor", "facts")
        return owner if record else UNKNOWN

    def member(self, owner: Instance, name: str, node: ast.expr) -> Value:
        """Return an attribute of an instance of this file's class; the layer of classes knows how."""
        raise NotImplementedError

    def class_member(self, owner: Class, name: str) -> Value:
        """Return an attribute of a class of this file; the layer of classes knows how."""
        raise NotImplementedError

    # Conditions -------------------------------------------------------------------------------

    def condition(self, node: ast.expr) -> Predicate:
        """Evaluate a condition for its events and return it as a predicate."""
        match node:
            case ast.BoolOp(op, values):
                tests = [self.condition(value) for value in values]
                result = tests[-1]
                for test in reversed(tests[:-1]):
                    result = Both(test, result) if isinstance(op, ast.And) else Not(Both(Not(test), Not(result)))
                return result
            case ast.UnaryOp(ast.Not(), operand):
                return Not(self.condition(operand))
            case _:
                value = self.evaluate(node)
                known = self._known(node, value)
                return self._atom(node) if known is None else Known(known)

    def _known(self, node: ast.expr, value: Value) -> bool | None:
        match node:
            case ast.Compare(left, [op], [right]):
                return self._compared(self.latest[left], op, self.latest[right], left)
            case ast.Call(ast.Name("hasattr" | "isinstance" | "callable")):
                return None
            case _:
                return self.truth(value)

    def _compared(self, left: Value, op: ast.cmpop, right: Value, node: ast.expr) -> bool | None:
        if isinstance(node, ast.Name) and node.id == "__name__":
            return True
        if right == NONE and isinstance(op, (ast.Is, ast.IsNot)):
            known = _is_none(left)
            return None if known is None else known is isinstance(op, ast.Is)
        a, b = const(left), const(right)
        if a is ... or b is ... or not isinstance(op, (ast.Eq, ast.NotEq, ast.Is, ast.IsNot)):
            return None
        return (a == b) is isinstance(op, (ast.Eq, ast.Is))

    def truth(self, value: Value) -> bool | None:
        """Return whether a value is true, if that is known."""
        match value:
            case Const(literal):
                return bool(literal)
            case Object() | Function() | Class():
                return True
            case _:
                return None

    def _atom(self, node: ast.expr) -> Predicate:
        ids: set[str] = set()
        positive, key = True, ""
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], (ast.NotEq, ast.IsNot, ast.NotIn)):
            positive = False
            op = {ast.NotEq: "Eq", ast.IsNot: "Is", ast.NotIn: "In"}[type(node.ops[0])]
            key = f"Compare({self._key(node.left, ids)},{op},{self._key(node.comparators[0], ids)})"
        else:
            key = self._key(node, ids)
        atom = Atom(key, frozenset(ids))
        return atom if positive else Not(atom)

    def _key(self, node: ast.AST, ids: set[str]) -> str:
        match node:
            case ast.Name() | ast.Attribute():
                return self._identity(node, ids)
            case ast.Constant(value):
                return repr(value)
            case ast.Compare(left, ops, comparators):
                middle = "".join(type(op).__name__ for op in ops)
                return f"Compare({self._key(left, ids)},{middle},{','.join(self._key(c, ids) for c in comparators)})"
            case _:
                children = ",".join(self._key(child, ids) for child in ast.iter_child_nodes(node))
                return f"{type(node).__name__}({children})"

    def _identity(self, node: ast.expr, ids: set[str]) -> str:
        match self.latest.get(node) or self._plain(node):
            case Unknown(id=id_) if id_:
                # `args.fp16` dies with `args`: every prefix counts.
                head = id_.split(".", 1)[0]
                ids.update((id_, head))
                return id_
            case Const(literal):
                return repr(literal)
            case Object(uid=uid) | Instance(uid=uid):
                return "/".join(uid)
            case _:
                return f"{'/'.join(self.frame.path)}/{ast.unparse(node)}"

    def _plain(self, node: ast.expr) -> Value:
        match node:
            case ast.Name(name):
                return self.lookup(name)
            case _:
                return UNKNOWN


def combined(values: Iterable[Value]) -> Value:
    """Return the result of an operation on tensors: it carries the graphs of all of them."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    if not tensors:
        return UNKNOWN
    nodes = frozenset(node for tensor in tensors for node in tensor.nodes)
    return Tensor(nodes) if nodes or len(tensors) == len(list(values)) else UNKNOWN


def _mixture(values: Iterable[Value]) -> Value:
    values = list(values)
    params = [value for value in values if isinstance(value, Params)]
    if params and len(params) == len(values):
        result = params[0]
        for other in params[1:]:
            of = None if result.of is None or other.of is None else result.of | other.of
            result = Params(of)
        return result
    return Unknown(holds=held(values))


def _is_none(value: Value) -> bool | None:
    match value:
        case Const(literal):
            return literal is None
        case Unknown():
            return None
        case _:
            return False
