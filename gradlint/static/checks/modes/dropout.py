"""Dropout that evaluation mode does not turn off: GL308."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from gradlint.data import NamedTuple
from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import by_words, check
from gradlint.static.checks.modes.rates import PHASE, drops, layers_made_in, may_drop, rates_kept, rates_off
from gradlint.static.lowering.values import Class
from gradlint.static.syntax.flags import Excuses, needed, set_by_others, set_on_demand, setting
from gradlint.static.syntax.nodes import children, walk, walk_of
from gradlint.static.syntax.questions import FunctionNode

_ON_PURPOSE = regex(r"\bmc\b|mc_?drop|monte|bayes|uncertain|inference|test time|always|ensemble", re.IGNORECASE)
_PRENET = regex(r"pre[_ -]?net", re.IGNORECASE)
"""A part that drops on purpose; who only has one says its name, too."""


@check
@by_words
def dropout_always_on(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL308: what the forward of a module drops, it drops in evaluation mode, too."""
    text = analysis.source.text
    if "ropout" not in text:
        return
    functions, helped, unguarded = _functions(analysis), set[ast.FunctionDef](), _Unguarded()
    for cls in _modules(analysis):
        for method in _running(cls, unguarded):
            named = {call.node.func.id for call in unguarded[method] if isinstance(call.node.func, ast.Name)}
            helping = {name: functions[name] for name in sorted(named & functions.keys())}
            dropping = _dropping(analysis, method, unguarded)
            if (helping or dropping) and not _by_design(cls, method, text):
                yield from _always_on(analysis, cls, method, dropping)
                for helper in _helpers(analysis, helping, cls):
                    if helper not in helped and not _by_design(cls, helper, text):
                        yield from _always_on(analysis, cls, helper, _dropping(analysis, helper, unguarded))
                    helped.add(helper)


def _modules(analysis: Analysis) -> Iterator[ast.ClassDef]:
    for node in analysis.nodes(ast.ClassDef):
        lowering = analysis.lowering
        if lowering.is_module(Class(node, lowering.module.path)):
            yield node


def _running(cls: ast.ClassDef, unguarded: _Unguarded) -> Iterator[FunctionNode]:
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
        for call in unguarded[methods[name]]:
            match call.node.func:
                case ast.Attribute(ast.Name("self"), called):
                    todo.append(called)


def _functions(analysis: Analysis) -> dict[str, ast.FunctionDef]:
    """Return the functions of the file that are no methods, by name."""
    methods = {each for node in analysis.nodes(ast.ClassDef) for each in node.body}
    return {each.name: each for each in analysis.nodes(ast.FunctionDef) if each not in methods}


def _helpers(analysis: Analysis, helping: dict[str, ast.FunctionDef], cls: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    """Yield the functions that a method calls in whichever phase, if nobody tells them which, or may give no rate."""
    off = rates_off(analysis, cls) if helping else frozenset[str]()
    for name, function in helping.items():
        calls = [node for node in analysis.nodes(ast.Call) if isinstance(node.func, ast.Name) and node.func.id == name]
        told = any(
            PHASE.search(ast.unparse(each)) or any(_is_nothing(given, off) for given in _given(each)) for each in calls
        )
        if not told and not function.args.defaults and not function.args.kwonlyargs:
            yield function


def _given(call: ast.Call) -> Iterator[ast.expr]:
    yield from call.args
    yield from (keyword.value for keyword in call.keywords)


def _is_nothing(given: ast.expr, off: frozenset[str]) -> bool:
    """Whether an argument may be 0 as its caller has it: a number that is, a choice, an attribute that is turned off."""
    zero = isinstance(given, ast.Constant) and not given.value
    return zero or isinstance(given, (ast.IfExp, ast.BoolOp)) or ast.unparse(given) in off


def _leaves_by_phase(method: FunctionNode) -> bool:
    """Whether a method is left early in some phase: what it calls behind that belongs to the others."""
    guards = (node for node in walk(method) if isinstance(node, ast.If) and PHASE.search(ast.unparse(node.test)))
    return any(isinstance(node.body[-1], ast.Return) for node in guards)


def _by_design(cls: ast.ClassDef, method: FunctionNode, text: str) -> bool:
    """Whether somebody says so, or asks for the mode: in the method, around it or by setting modes on his own."""
    said = f"{cls.name} {ast.get_docstring(cls) or ''} {method.name} {ast.get_docstring(method) or ''}"
    named = f"{cls.name} {(ast.get_docstring(cls) or '').partition(chr(10))[0]} {method.name}"
    if _ON_PURPOSE.search(said.replace("_", " ")) or _PRENET.search(named) or PHASE.search(ast.unparse(method.args)):
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


def _dropping(analysis: Analysis, method: FunctionNode, unguarded: _Unguarded) -> dict[ast.Call, str]:
    """Return the calls of a method that may drop and that no switch of the caller's stands in front of, with their flags."""
    assigned = (target for node in walk_of(method, ast.Assign) for target in node.targets)
    bound = {target.id for target in assigned if isinstance(target, ast.Name)}
    calls = [call for call in unguarded[method] if may_drop(analysis, call.node, bound)]
    handed_in = _handed_in(method) if calls else frozenset[str]()
    return {call.node: call.flag for call in calls if handed_in.isdisjoint(call.switches)}


def _always_on(
    analysis: Analysis, cls: ast.ClassDef, method: FunctionNode, calls: dict[ast.Call, str]
) -> Iterator[Diagnostic]:
    if not calls:
        return
    switched = {*set_by_others(analysis.tree), *set_on_demand(cls)} if any(calls.values()) else set()
    made, off = layers_made_in(analysis, method), rates_off(analysis, cls) | _decided_by_callers(cls, method)
    kept = frozenset(rates_kept(analysis, cls) if "scaled_dot_product" in analysis.source.text else ())
    for node, flag in calls.items():
        if flag in switched or _PRENET.search(ast.unparse(node)):
            continue
        found = drops(analysis, node, made, off, kept)
        if found is not None:
            what, way = found
            place = analysis.source.place(node)
            if flag:
                analysis.kept(Excuses).of[place] = setting(flag)
            yield compose("GL308", Side.STATIC, place, subject=ast.unparse(node.func), what=what, way=way)


class _Call(NamedTuple):
    """A call: the attribute whose truth the innermost condition around it needs ("": none), and the names that conditions test."""

    node: ast.Call
    flag: str
    switches: frozenset[str]


class _Unguarded(dict[FunctionNode, list[_Call]]):
    """The calls of each function that no condition on the phase stands in front of, which are looked for once."""

    def __missing__(self, function: FunctionNode) -> list[_Call]:
        """Look for them."""
        self[function] = found = list(_unguarded(function.body))
        return found


def _unguarded(body: list[ast.stmt]) -> Iterator[_Call]:
    todo: list[tuple[ast.AST, str, frozenset[str]]] = [(each, "", frozenset()) for each in body]
    while todo:
        node, flag, switches = todo.pop()
        if isinstance(node, (ast.If, ast.IfExp, ast.While)):
            if PHASE.search(ast.unparse(node.test)):
                continue
            then = node.body if isinstance(node.body, list) else [node.body]
            own, switches = next(needed(node.test), flag), switches.union(_switches(node.test))
            todo += [(child, own if child in then else flag, switches) for child in children(node)]
            continue
        if isinstance(node, ast.Call):
            yield _Call(node, flag, switches)
        if not isinstance(node, (ast.Lambda, ast.FunctionDef, ast.ClassDef)):
            todo += [(child, flag, switches) for child in children(node)]


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
