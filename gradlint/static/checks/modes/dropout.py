"""Dropout that evaluation mode does not turn off: GL308."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import by_words, check
from gradlint.static.lowering.values import Class, Library, Value
from gradlint.static.syntax.flags import Excuses, needed, set_by_others, set_on_demand, setting
from gradlint.static.syntax.nodes import children, walk
from gradlint.static.syntax.questions import FunctionNode

_FUNCTION = re.compile(r"torch\.nn\.functional\.dropout[123]?d?")
_LAYER = re.compile(r"torch\.nn\.(?:modules\.dropout\.)?\w*Dropout\w*")
_ATTENTION = "torch.nn.functional.scaled_dot_product_attention"
_PHASE = re.compile(r"train|eval|infer|test|phase|mode|sampl|stochastic", re.IGNORECASE)
_ON_PURPOSE = re.compile(r"\bmc\b|mc_?drop|monte|bayes|uncertain|inference|test time|always|ensemble", re.IGNORECASE)
_PRENET = re.compile(r"pre[_ -]?net", re.IGNORECASE)
"""A part that drops on purpose; who only has one says its name, too."""


@check
@by_words
def dropout_always_on(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL308: what the forward of a module drops, it drops in evaluation mode, too."""
    text = analysis.source.text
    if "ropout" not in text:
        return
    for cls in _modules(analysis):
        for method in _running(cls):
            if not _by_design(cls, method, text):
                yield from _always_on(analysis, cls, method)


def _modules(analysis: Analysis) -> Iterator[ast.ClassDef]:
    for node in analysis.nodes(ast.ClassDef):
        lowering = analysis.lowering
        if lowering.is_module(Class(node, lowering.module.path)):
            yield node


def _running(cls: ast.ClassDef) -> Iterator[FunctionNode]:
    """Yield `forward` and the methods of the class that it calls, at whatever remove, in whichever phase."""
    methods = {each.name: each for each in cls.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))}
    todo, seen = ["forward"], {"__init__"}
    while todo:
        name = todo.pop()
        if name in seen or name not in methods:
            continue
        seen.add(name)
        yield methods[name]
        if _leaves_by_phase(methods[name]):
            continue
        for node, _ in _unguarded(methods[name].body, frozenset()):
            match node.func:
                case ast.Attribute(ast.Name("self"), called):
                    todo.append(called)


def _leaves_by_phase(method: FunctionNode) -> bool:
    """Whether a method is left early in some phase: what it calls behind that belongs to the others."""
    guards = (node for node in walk(method) if isinstance(node, ast.If) and _PHASE.search(ast.unparse(node.test)))
    return any(isinstance(node.body[-1], ast.Return) for node in guards)


def _by_design(cls: ast.ClassDef, method: FunctionNode, text: str) -> bool:
    """Whether somebody says so, or asks for the mode: in the method, around it or by setting modes on his own."""
    said = f"{cls.name} {ast.get_docstring(cls) or ''} {method.name} {ast.get_docstring(method) or ''}"
    named = f"{cls.name} {(ast.get_docstring(cls) or '').partition(chr(10))[0]} {method.name}"
    if _ON_PURPOSE.search(said.replace("_", " ")) or _PRENET.search(named) or _PHASE.search(ast.unparse(method.args)):
        return True
    if any(isinstance(each, ast.FunctionDef) and each.name in ("train", "eval") for each in cls.body):
        return True
    lines = text.splitlines()[method.lineno - 1 : method.end_lineno]
    comments = [line.partition("#")[2] for line in lines]
    said_there = any(sign.search(comment) for comment in comments for sign in (_ON_PURPOSE, _PRENET))
    return said_there or _asks_for_the_mode(method)


def _asks_for_the_mode(method: FunctionNode) -> bool:
    """Whether a method decides by the mode; one that only hands it to a call tells nobody else."""
    given = {
        value
        for node in walk(method)
        if isinstance(node, ast.Call)
        for value in (*node.args, *(keyword.value for keyword in node.keywords))
    }
    return any(isinstance(node, ast.Attribute) and node.attr == "training" for node in _parts(method, given))


def _parts(node: ast.AST, without: set[ast.expr]) -> Iterator[ast.AST]:
    return (part for part in walk(node) if part not in without)


def _always_on(analysis: Analysis, cls: ast.ClassDef, method: FunctionNode) -> Iterator[Diagnostic]:
    calls = {node: flag for node, flag in _unguarded(method.body, _handed_in(method)) if _may_drop(analysis, node)}
    if not calls:
        return
    switched = {*set_by_others(analysis.tree), *set_on_demand(cls)} if any(calls.values()) else set()
    made, off = _made(analysis, method), _off(analysis, cls) | _decided_by_callers(cls, method)
    kept = frozenset(_kept(analysis, cls) if "scaled_dot_product" in analysis.source.text else ())
    for node, flag in calls.items():
        if flag in switched or _PRENET.search(ast.unparse(node)):
            continue
        found = _drops(analysis, node, made, off, kept)
        if found is not None:
            what, way = found
            place = analysis.source.place(node)
            if flag:
                analysis.kept(Excuses).of[place] = setting(flag)
            yield compose("GL308", Side.STATIC, place, subject=ast.unparse(node.func), what=what, way=way)


def _may_drop(analysis: Analysis, node: ast.Call) -> bool:
    """Whether a call is one of a function that drops, or perhaps of a layer that the method makes."""
    if isinstance(node.func, (ast.Call, ast.Name)):
        return True
    callee = _called(analysis, node.func)
    return isinstance(callee, Library) and (bool(_FUNCTION.fullmatch(callee.name)) or callee.name == _ATTENTION)


def _unguarded(body: list[ast.stmt], handed_in: frozenset[str]) -> Iterator[tuple[ast.Call, str]]:
    """Yield the calls that no condition on the phase, and no switch of the caller's, stands in front of.

    With each comes the attribute whose truth the innermost condition around it needs ("": none).
    """
    todo: list[tuple[ast.AST, str]] = [(each, "") for each in body]
    while todo:
        node, flag = todo.pop()
        if isinstance(node, (ast.If, ast.IfExp, ast.While)):
            if _PHASE.search(ast.unparse(node.test)) or not handed_in.isdisjoint(_switches(node.test)):
                continue
            then = node.body if isinstance(node.body, list) else [node.body]
            own = next(needed(node.test), flag)
            todo += [(child, own if child in then else flag) for child in children(node)]
            continue
        if isinstance(node, ast.Call):
            yield node, flag
        if not isinstance(node, (ast.Lambda, ast.FunctionDef, ast.ClassDef)):
            todo += [(child, flag) for child in children(node)]


def _handed_in(method: FunctionNode) -> frozenset[str]:
    """Return the names of what the caller hands to a method, alone or in a tuple."""
    names = {arg.arg for arg in (*method.args.args[1:], *method.args.kwonlyargs)}
    for node in walk(method):
        match node:
            case ast.Assign([ast.Tuple(targets)], ast.Name(source)) if source in names:
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return frozenset(names)


def _switches(test: ast.expr) -> Iterator[str]:
    """Yield the names whose bare truth a condition needs."""
    match test:
        case ast.Name(name):
            yield name
        case ast.BoolOp(ast.And(), values):
            for value in values:
                yield from _switches(value)


def _made(analysis: Analysis, method: FunctionNode) -> frozenset[str]:
    """Return the names that the method gives to dropout layers of its own, and does nothing to but call them."""
    names = {
        target.id
        for node in walk(method)
        if isinstance(node, ast.Assign) and _is_layer(analysis, node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    handled = {
        node.value.id for node in walk(method) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    return frozenset(names - handled)


def _off(analysis: Analysis, cls: ast.ClassDef) -> frozenset[str]:
    """Return the attributes, as they are written, that nothing in the class sets to anything but 0."""
    never, rates = _never_given(analysis, cls), _assigned(cls).items()
    return frozenset(
        name for name, values in rates if all(_is_zero(each) or _written(each) in never for each in values)
    )


def _kept(analysis: Analysis, cls: ast.ClassDef) -> Iterator[str]:
    """Yield the rates that the constructor is given for good, as they are written: `self.rate`, `self.drop.p`."""
    never, others = _never_given(analysis, cls), {*set_by_others(analysis.tree), *set_on_demand(cls)}
    for target, values in _assigned(cls).items():
        match values:
            case [ast.Call() as layer] if _is_layer(analysis, layer):
                target, rate = f"{target}.p", _argument(layer, 0, "p")
            case [(ast.Name() | ast.Attribute() | ast.Constant()) as rate]:
                pass
            case _:
                continue
        decided = _is_zero(rate) or _written(rate) in never or _PHASE.search(_written(rate))
        if not decided and target.rpartition(".")[2] not in others:
            yield target


def _assigned(cls: ast.ClassDef) -> dict[str, list[ast.expr]]:
    """Return what a class assigns, by target as it is written."""
    assigned: dict[str, list[ast.expr]] = {}
    for node in walk(cls):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                assigned.setdefault(ast.unparse(target), []).append(node.value)
    return assigned


def _decided_by_callers(cls: ast.ClassDef, method: FunctionNode) -> frozenset[str]:
    """Return the parameters of a method that is called by one that asks for the mode: they may be 0 where it is off."""
    methods = (each for each in cls.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)))
    asking = [each for each in methods if each is not method and _asks_for_the_mode(each)]
    called = any(
        isinstance(node, ast.Call) and ast.unparse(node.func) == f"self.{method.name}"
        for each in asking
        for node in walk(each)
    )
    if called:
        return frozenset(arg.arg for arg in (*method.args.args, *method.args.kwonlyargs))
    return _asked_of_callers(method)


def _asked_of_callers(method: FunctionNode) -> frozenset[str]:
    """Return what every caller of `forward` has to tell."""
    if method.name != "forward":
        return frozenset()
    positional = method.args.args[1 : len(method.args.args) - len(method.args.defaults)]
    named = (arg for arg, rate in zip(method.args.kwonlyargs, method.args.kw_defaults, strict=True) if rate is None)
    return frozenset(arg.arg for arg in (*positional, *named))


def _never_given(analysis: Analysis, cls: ast.ClassDef) -> frozenset[str]:
    """Return the parameters that are 0 unless they are given, where all calls of the class are in sight and give none."""
    calls = [node for node in analysis.nodes(ast.Call) if _makes(analysis, node, cls)]
    method = next((each for each in cls.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)
    if method is None or not calls:
        return frozenset()
    names = [arg.arg for arg in (*method.args.posonlyargs, *method.args.args)]
    defaults = dict(zip(reversed(names), reversed(method.args.defaults), strict=False))
    defaults |= {
        arg.arg: rate for arg, rate in zip(method.args.kwonlyargs, method.args.kw_defaults, strict=True) if rate
    }
    given = {name for call in calls for name in (*names[1 : len(call.args) + 1], *(each.arg for each in call.keywords))}
    unpacked = None in given or any(isinstance(each, ast.Starred) for call in calls for each in call.args)
    return frozenset(name for name in defaults if _is_zero(defaults[name]) and name not in given and not unpacked)


def _makes(analysis: Analysis, node: ast.Call, cls: ast.ClassDef) -> bool:
    callee = _called(analysis, node.func)
    if isinstance(callee, Class):
        return callee.node is cls
    return isinstance(node.func, ast.Name) and node.func.id == cls.name  # of a function that is over


def _drops(
    analysis: Analysis, node: ast.Call, made: frozenset[str], off: frozenset[str], kept: frozenset[str]
) -> tuple[str, str] | None:
    """Return how a call drops and what would turn it off, if nothing does."""
    match node.func, _called(analysis, node.func):
        case _, Library(name) if _FUNCTION.fullmatch(name):
            given = [keyword.arg for keyword in node.keywords]
            rate = _argument(node, 1, "p")
            told = len(node.args) > 2 or "training" in given or None in given
            untold = not (told or _is_zero(rate) or _written(rate) in off)
            return ("without being told the mode", "training=self.training") if untold else None
        case _, Library(name) if name == _ATTENTION:
            rate = _argument(node, 4, "dropout_p")
            fixed = _written(rate) in kept or (isinstance(rate, ast.Constant) and not _is_zero(rate))
            return ("with a fixed rate", f"dropout_p={_written(rate)} if self.training else 0.0") if fixed else None
        case ((ast.Call() as layer), _) if _is_layer(analysis, layer):
            return None if _written(_argument(layer, 0, "p")) in off else _MADE_ANEW
        case ast.Name(name), _ if name in made:
            return _MADE_ANEW
        case _:
            return None


_MADE_ANEW = ("as a layer that is made anew in each forward, in training mode", "a layer made in `__init__`")


def _called(analysis: Analysis, node: ast.expr) -> Value:
    return analysis.lowering.seen_from(analysis.lowering.module.path, node)


def _is_layer(analysis: Analysis, node: ast.expr) -> bool:
    if not isinstance(node, ast.Call):
        return False
    callee = _called(analysis, node.func)
    return isinstance(callee, Library) and bool(_LAYER.fullmatch(callee.name)) and not _is_zero(_argument(node, 0, "p"))


def _argument(node: ast.Call, position: int, name: str) -> ast.expr | None:
    """Return an argument of a call as it is written."""
    named = next((keyword.value for keyword in node.keywords if keyword.arg == name), None)
    return named or (node.args[position] if len(node.args) > position else None)


def _written(node: ast.expr | None) -> str:
    return ast.unparse(node) if node is not None else ""


def _is_zero(rate: ast.expr | None) -> bool:
    return isinstance(rate, ast.Constant) and not rate.value
