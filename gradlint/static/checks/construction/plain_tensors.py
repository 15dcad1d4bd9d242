"""Weights that are plain tensors: what converting a parameter makes, leaves that require gradients (GL809).

It knows the assignments of one class; it must not know whether the class leaves its parts to torch (`registration`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.facts.bearing import is_parameter
from gradlint.static.lowering.values import Library
from gradlint.static.syntax.flags import Excuses, made_on_cpu, on_cpu
from gradlint.static.syntax.nodes import walk, walk_of, words
from gradlint.static.syntax.questions import FunctionNode

CONVERSIONS = frozenset(["to", "cuda", "double", "half", "bfloat16"])
_MAKES = frozenset(f"torch.{name}" for name in ("tensor", "zeros", "ones", "full", "empty", "rand", "randn"))
_KINDS = ("dtype", "device")
_ANEW = frozenset(["eye", "arange", "linspace", "randint", "normal", "from_numpy", "Tensor", "FloatTensor"])
_ANEW |= {name.removeprefix("torch.") for name in _MAKES}
"""What makes a tensor of numbers: where what these come from is, does not matter."""
_COMPUTES = frozenset(["exp", "log", "sigmoid", "tanh", "sqrt", "softmax", "clamp", "abs", "pow", "reciprocal"])


def converted(analysis: Analysis, cls: ast.ClassDef) -> Iterator[Diagnostic]:
    """GL809: `self.w = nn.Parameter(...).to(device)`, which is the result of a computation."""
    for node in walk_of(cls, ast.Assign):
        match node:
            case ast.Assign(
                [ast.Attribute(ast.Name("self"), name)], ast.Call(ast.Attribute(ast.Call() as made, how), args)
            ) if how in CONVERSIONS and is_parameter(analysis, made):
                told = how == "to" and any(_is_parameter(analysis, each) for each in args)
                if told and cls.name in made_on_cpu(analysis.nodes(ast.Call)):
                    continue
                if not is_so_already(made, args, cls) and not any(_is_given(analysis, each) for each in made.args[:1]):
                    what = f"`self.{name}`, the plain tensor that `.{how}()` makes of a parameter where it converts it"
                    way = f"convert the tensor first: `nn.Parameter(tensor.{how}(...))`"
                    place = analysis.source.place(node)
                    if told:
                        analysis.kept(Excuses).of[place] = on_cpu(cls.name)
                    yield compose("GL809", Side.STATIC, place, owner=cls.name, what=what, way=way)
            case _:
                continue


def _is_parameter(analysis: Analysis, given: ast.expr) -> bool:
    """Whether an expression is a parameter of its function, which is never given another value."""
    function = analysis.function_in(given.lineno)
    return function is not None and isinstance(given, ast.Name) and _bindings(function).get(given.id) == []


def bare(analysis: Analysis, cls: ast.ClassDef) -> Iterator[Diagnostic]:
    """GL809: `self.b = torch.zeros(1, requires_grad=True)`, a weight that no module knows; who differentiates by it may mean it."""
    if not analysis.says("requires_grad=True") or analysis.says("autograd"):
        return
    for node in walk(cls):
        match node:
            case ast.Assign([ast.Attribute(ast.Name("self"), name)], ast.Call() as made) if _is_weight(analysis, made):
                if _only_computes(analysis, name):
                    what = f"`self.{name}`, a tensor that requires gradients and is no parameter"
                    way = f"write `self.{name} = nn.Parameter(...)`"
                    yield compose("GL809", Side.STATIC, analysis.source.place(node), owner=cls.name, what=what, way=way)
            case _:
                continue


def _is_weight(analysis: Analysis, made: ast.Call) -> bool:
    """Whether a call makes a tensor of literal values, or of given sizes, that requires gradients: no data."""
    known = analysis.value(made.func)
    asked = any(each.arg == "requires_grad" and getattr(each.value, "value", None) is True for each in made.keywords)
    if not asked or not isinstance(known, Library) or known.name not in _MAKES:
        return False
    given = made.args[0] if made.args and known.name == "torch.tensor" else None
    return given is None or _is_literal(given)


def _is_literal(given: ast.expr) -> bool:
    """Whether a value is made of numbers alone, such as `math.log(1 / 0.07)`."""
    match given:
        case ast.Call(ast.Attribute(ast.Name("math" | "np" | "numpy")), args, []):
            return all(map(_is_literal, args))
        case ast.Attribute(ast.Name("math" | "np" | "numpy")):
            return True
        case ast.Name() | ast.Attribute() | ast.Call():
            return False
        case _:
            return all(_is_literal(each) for each in ast.iter_child_nodes(given) if isinstance(each, ast.expr))


def _only_computes(analysis: Analysis, name: str) -> bool:
    """Whether an attribute is an operand somewhere, and nowhere in a list that somebody may optimize."""
    read = {node for node in analysis.nodes(ast.Attribute) if node.attr == name and isinstance(node.ctx, ast.Load)}
    operands = {each for node in analysis.nodes(ast.BinOp) for each in (node.left, node.right)}
    operands |= {node.value for node in analysis.nodes(ast.AugAssign)}
    called = (node.func for node in analysis.nodes(ast.Call) if isinstance(node.func, ast.Attribute))
    operands |= {each.value for each in called if each.attr in _COMPUTES}
    listed = (each for node in analysis.nodes(ast.List, ast.Tuple, ast.Dict) for each in _elements(node))
    return bool(read & operands) and not any(each in read for each in listed)


def _elements(node: ast.expr) -> list[ast.expr]:
    return node.values if isinstance(node, ast.Dict) else getattr(node, "elts", [])


def is_so_already(made: ast.expr, args: list[ast.expr], scope: ast.AST) -> bool:
    """Whether a tensor is made with the very type, or on the very device, that it is then converted to: it stays the same tensor."""
    named = {
        each.value for each in walk_of(scope, ast.Assign) if words(made) & {ast.unparse(to) for to in each.targets}
    }
    nodes = [node for each in (made, *named) for node in walk(each)]
    given = {ast.unparse(node.value) for node in nodes if isinstance(node, ast.keyword) and node.arg in _KINDS}
    for node in nodes:
        match node:
            case ast.Call(ast.Attribute(attr="to"), [kind]):
                given.add(ast.unparse(kind))
            case _:
                continue
    return len(args) == 1 and ast.unparse(args[0]) in given


def is_made_anew(tensor: ast.expr, scope: ast.AST) -> bool:
    """Whether a tensor is computed of one that a function makes of numbers, by way of its names too."""
    seen: set[str] = set()
    todo = [tensor]
    while todo:
        for node in walk(todo.pop()):
            match node:
                case ast.Call(ast.Attribute(ast.Name("torch"), how) | ast.Name(how)) if how in _ANEW:
                    return True
                case ast.Name(name) if name not in seen:
                    seen.add(name)
                    named = (each for each in walk_of(scope, ast.Assign) if name in map(ast.unparse, each.targets))
                    todo += [each.value for each in named]
                case _:
                    continue
    return False


def _is_given(analysis: Analysis, tensor: ast.expr) -> bool:
    """Whether a tensor is computed of one that its function is given, which may be of that type and on that device."""
    function = analysis.function_in(tensor.lineno)
    return function is not None and _comes_from(tensor, _bindings(function), frozenset())


def _bindings(function: FunctionNode) -> dict[str, list[ast.expr]]:
    """Return what the names of a function stand for; nothing for a parameter that is never given another value."""
    found: dict[str, list[ast.expr]] = {each.arg: [] for each in walk(function.args) if isinstance(each, ast.arg)}
    for node in walk_of(function, ast.Assign):
        for name in (each for target in node.targets for each in walk(target) if isinstance(each, ast.Name)):
            found.setdefault(name.id, []).append(node.value)
    return found


def _comes_from(node: ast.expr, bound: dict[str, list[ast.expr]], seen: frozenset[str]) -> bool:
    """Whether a tensor may be where a parameter of its function is; `bound` says what its names stand for."""
    match node:
        case ast.Name(name) if name in bound and name not in seen:
            values = bound[name]
            return not values or any(_comes_from(each, bound, seen | {name}) for each in values)
        case ast.Call(ast.Attribute(owner, how), args) if how not in _ANEW:
            return any(_comes_from(each, bound, seen) for each in (owner, *args))
        case ast.BinOp(left, _, right):
            return any(_comes_from(each, bound, seen) for each in (left, right))
        case ast.Subscript(owner) | ast.Attribute(owner):
            return _comes_from(owner, bound, seen)
        case _:
            return False
