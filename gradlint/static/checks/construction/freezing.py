"""Parameters that are told not to train, in vain: GL807."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import by_words, check
from gradlint.static.facts.bearing import is_parameter, makes_module
from gradlint.static.lowering.values import Instance, Library, Object
from gradlint.static.syntax.idioms import uncounted
from gradlint.static.syntax.nodes import spelled, walk

_MISSPELT = regex(r"(requires?|required|requred|reqires?|requries|requiers)_?(grads?|gradients?)")
_YIELDS = {"children": 0, "modules": 0, "named_children": 1, "named_modules": 1}
"""Methods that yield modules, and where in each item the module stands."""
_WORD = frozenset([".requires_grad"])
_TOLD = regex(r"req\w*grad\w*\s*=")


@check
@by_words
def told_in_vain(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL807: `requires_grad` of a module, a misspelt one, or one that is compared instead of assigned."""
    text = analysis.source.text
    if not any(text[found.start() - 1] == "." for found in _TOLD.finditer(text)):
        return
    read = {node.attr for node in analysis.nodes(ast.Attribute) if isinstance(node.ctx, ast.Load)}
    modules: set[ast.AST] | None = None
    for node in analysis.nodes(ast.Assign, ast.Expr):
        match node:
            case ast.Assign([ast.Attribute(owner, "requires_grad")], flag):
                modules = set(_named_modules(analysis)) if modules is None else modules
                told = owner in modules or _is_module(analysis, owner) or _is_called(analysis, owner)
                if told and not _is_a_flag(analysis, owner):
                    said = ast.unparse(owner)
                    what = f"`{said}` is a module, and torch looks at the `requires_grad` of parameters only"
                    way = f"`{said}.requires_grad_({ast.unparse(flag)})` tells all its parameters"
                    yield _report(analysis, node, what, way)
            case ast.Assign([ast.Attribute(_, name)], ast.Constant(bool())) if name != "requires_grad":
                if _MISSPELT.fullmatch(name) and name not in read:
                    yield _report(analysis, node, f"torch knows no `{name}`", "the name is `requires_grad`")
            case ast.Expr(ast.Compare(ast.Attribute(_, "requires_grad"), [ast.Eq()], [ast.Constant(bool())])):
                yield _report(analysis, node, "it only compares", "assign with a single `=`")
            case _:
                continue


def _report(analysis: Analysis, node: ast.stmt, what: str, way: str) -> Diagnostic:
    return compose("GL807", Side.STATIC, analysis.source.place(node), subject=ast.unparse(node), what=what, way=way)


def _is_a_flag(analysis: Analysis, owner: ast.expr) -> bool:
    """Whether a module reads `self.requires_grad`, or one whose class is not known may: then it is an attribute of its own, or a property."""
    own = ast.unparse(owner) == "self" or _is_called(analysis, owner)
    reads = (
        node.attr == "requires_grad" and isinstance(node.ctx, ast.Load) and ast.unparse(node.value) == "self"
        for node in analysis.nodes(ast.Attribute)
    )
    return own and (any(each.name == "requires_grad" for each in analysis.functions) or any(reads))


def _is_called(analysis: Analysis, owner: ast.expr) -> bool:
    """Whether an attribute of a module is called by the module's own `forward`, as no tensor is, and is never a parameter."""
    match owner:
        case ast.Attribute(ast.Name("self")):
            said = ast.unparse(owner)
        case _:
            return False
    return any(
        _calls(cls, said) and not _may_be_parameter(analysis, cls, said)
        for cls in analysis.nodes(ast.ClassDef)
        if cls.lineno <= owner.lineno <= (cls.end_lineno or 0)
    )


def _calls(cls: ast.ClassDef, said: str) -> bool:
    """Whether the `forward` of a class calls what is spelled so."""
    forwards = (each for each in cls.body if isinstance(each, ast.FunctionDef) and each.name == "forward")
    calls = (call for forward in forwards for call in walk(forward) if isinstance(call, ast.Call))
    return any(ast.unparse(call.func) == said for call in calls)


def _may_be_parameter(analysis: Analysis, cls: ast.ClassDef, said: str) -> bool:
    """Whether a class assigns a parameter to what is spelled so: a module in one of its forms, a factor in another."""
    return any(
        isinstance(node, ast.Assign) and is_parameter(analysis, node.value) and said in map(ast.unparse, node.targets)
        for node in walk(cls)
    )


def _is_module(analysis: Analysis, owner: ast.expr) -> bool:
    """Whether a value was made as a module, not only reached as a part of one: that may be a parameter."""
    lowering = analysis.lowering
    match analysis.value(owner):
        case Object(uid=uid, origin=origin):
            return bool(origin) and uid in lowering.objects
        case Instance(cls=cls):
            return lowering.is_module(cls)
        case _:
            return False


def _named_modules(analysis: Analysis) -> Iterator[ast.AST]:
    """Yield the names and attributes that stand for modules where they are told."""
    contents = analysis.contents
    for node in analysis.nodes(ast.For, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef):
        if not contents.says(_WORD, node):
            continue
        match node:
            case ast.For(target, source):
                target, source = uncounted(target, source)
                name = _yielding(source)
                module = target.elts[1] if isinstance(target, ast.Tuple) and len(target.elts) == 2 else target
                if name and isinstance(module, ast.Name) and isinstance(target, ast.Tuple) is bool(_YIELDS[name]):
                    yield from _told(node.body, {module.id})
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _told(node.body, _always_modules(analysis, node))
                yield from _told_of_lists(node)
            case ast.ClassDef():
                yield from _told(node.body, _always_modules(analysis, node))
                yield from _told_of_parts(analysis, node)
            case _:
                continue


def _told_of_parts(analysis: Analysis, cls: ast.ClassDef) -> Iterator[ast.AST]:
    """Yield what is told in loops over attributes that are given nothing but new lists of modules."""
    lists = _always_modules(analysis, cls, _makes_list)
    for node in walk(cls) if lists else ():
        if isinstance(node, ast.For):
            target, source = uncounted(node.target, node.iter)
            listed = source.value if isinstance(source, ast.Subscript) else source
            if isinstance(target, ast.Name) and spelled(listed) in lists:
                yield from _told(node.body, {target.id})


def _makes_list(analysis: Analysis, node: ast.expr) -> bool:
    """Whether an expression makes, right there, a list of modules."""
    known = analysis.value(node.func) if isinstance(node, ast.Call) else None
    return isinstance(known, Library) and known.name in ("torch.nn.ModuleList", "torch.nn.Sequential")


def _yielding(source: ast.expr) -> str:
    """Return the method by which an expression lists modules, all or a slice of them ("": it does not)."""
    match source:
        case ast.Call(ast.Attribute(attr=name)) if name in _YIELDS:
            return name
        case ast.Call(ast.Name("list" | "tuple" | "reversed"), [listed]) | ast.Subscript(listed, ast.Slice()):
            return _yielding(listed)
        case _:
            return ""


def _told_of_lists(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """Yield what is told in loops over a name that stands for nothing but listed modules when it is assigned."""
    sources: dict[str, list[str]] = defaultdict(list)
    for node in walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = _yielding(node.value)
            sources[node.targets[0].id].append("" if _YIELDS.get(name, 1) else name)
    for node in walk(function):
        match node:
            case ast.For(ast.Name(module), ast.Name(listed)) if sources[listed] and all(sources[listed]):
                yield from _told(node.body, {module})
            case _:
                continue


def _told(body: list[ast.stmt], spelled: set[str]) -> Iterator[ast.AST]:
    if not spelled:
        return
    for statement in body:
        for node in walk(statement):
            match node:
                case ast.Assign([ast.Attribute(owner, "requires_grad")]) if ast.unparse(owner) in spelled:
                    yield owner
                case _:
                    continue


def _always_modules(
    analysis: Analysis,
    scope: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
    makes: Callable[[Analysis, ast.expr], bool] = makes_module,
) -> set[str]:
    """Return the names of a function, or the attributes of a class, that are given nothing but new modules, or lists of them."""
    given: dict[str, list[bool]] = defaultdict(list)
    for node in walk(scope):
        match node:
            case ast.Assign(targets, value):
                for target in targets:
                    known = given[spelled(target)]
                    known.append(all(known) and makes(analysis, value))
            case ast.For(target=target) | ast.AnnAssign(target=target) | ast.NamedExpr(target=target):
                for part in walk(target):
                    if isinstance(part, (ast.Name, ast.Attribute)):
                        given[spelled(part)].append(False)
            case ast.arg(name):
                given[name].append(False)
            case _:
                continue
    wanted = "self." if isinstance(scope, ast.ClassDef) else ""
    return {
        name
        for name, found in given.items()
        if all(found) and name.startswith(wanted) and ("." in name) is bool(wanted)
    }
