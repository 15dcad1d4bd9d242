"""Modules and parameters that their owner does not know of: GL802 and GL809."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping

from gradlint.data import NamedTuple
from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import by_words, check
from gradlint.static.checks.construction.plain_tensors import CONVERSIONS, bare, converted
from gradlint.static.facts.bearing import bears_parameters, is_parameter
from gradlint.static.lowering.values import Class, Library
from gradlint.static.syntax.nodes import children, walk, walk_of

_BASES = ("torch.nn.Module", "torch.nn.modules.Module", "torch.nn.modules.module.Module")
_BASES_OF_LIBRARIES = (".LightningModule", ".ComposerModel", ".PreTrainedModel")
"""Modules of libraries that leave their parts to torch."""
_KEEPS_BOOKS = frozenset(
    [
        "parameters",
        "named_parameters",
        "modules",
        "named_modules",
        "children",
        "named_children",
        "__setattr__",
        "_apply",
    ]
)
"""A module that defines one of these knows its parts without torch."""
_LOOKS_AFTER = frozenset(
    ["parameters", "named_parameters", "add_module", "register_module", "register_parameter", "state_dict"]
)
"""Where one of these is called in a loop over a list, somebody looks after its elements."""
_READS = frozenset(["enumerate", "zip", "reversed", "len", "range", "iter"])
_PLACE = {"append": 0, "insert": 1}
_GROWS = frozenset([*_PLACE, "extend"])


class _Growth(NamedTuple):
    """A statement by which modules, or parameters, come into the container `name` of a module."""

    name: str
    node: ast.AST
    parameters: bool


@check
@by_words
def hidden_parts(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL802 and GL809: modules, or parameters, in a plain list or dict, where torch does not look."""
    if "self." not in analysis.source.text or "torch" not in analysis.source.text:
        return
    grown: dict[ast.ClassDef, list[_Growth]] = {}
    for node in analysis.nodes(ast.ClassDef):
        if _may_hide(node) and _leaves_it_to_torch(analysis, node):
            growing = filter(_may_grow, _methods(node))
            found = [growth for method in growing for growth in _growths(analysis, method)]
            plain = _plain_containers(node) if found else frozenset()
            grown[node] = [growth for growth in found if growth.name in plain]
            yield from converted(analysis, node)
            yield from bare(analysis, node)
    names = {growth.name for found in grown.values() for growth in found}
    known = set(_handed_on(analysis.tree, names)) if names else names
    for node, found in grown.items():
        for growth in {each.name: each for each in reversed(found)}.values():
            if growth.name not in known:
                yield _report(analysis, node, growth)


def _may_hide(cls: ast.ClassDef) -> bool:
    """Whether anything in a class puts something made there into a container, or converts it, or makes a bare weight."""
    if _may_grow(cls, ast.Call) or any(each.arg == "requires_grad" for each in walk_of(cls, ast.keyword)):
        return True
    return any(
        isinstance(call.func, ast.Attribute) and call.func.attr in CONVERSIONS for call in walk_of(cls, ast.Call)
    )


def _may_grow(scope: ast.AST, kind: type[ast.expr] = ast.expr) -> bool:
    """Whether anything in a scope puts something, in a display something of a kind of syntax, into a container."""
    if any(isinstance(call.func, ast.Attribute) and call.func.attr in _GROWS for call in walk_of(scope, ast.Call)):
        return True
    return any(
        isinstance(target, ast.Subscript) or any(isinstance(each, kind) for each in _elements(value))
        for node in (*walk_of(scope, ast.Assign), *walk_of(scope, ast.AnnAssign))
        for target, value in _assignments(node)
    )


def _report(analysis: Analysis, cls: ast.ClassDef, growth: _Growth) -> Diagnostic:
    place = analysis.source.place(growth.node)
    code = "GL809" if growth.parameters else "GL802"
    what = f"the parameters in the plain container `self.{growth.name}`"
    way = "make it an `nn.ParameterList`"
    return compose(code, Side.STATIC, place, subject=f"self.{growth.name}", owner=cls.name, what=what, way=way)


def _leaves_it_to_torch(analysis: Analysis, cls: ast.ClassDef) -> bool:
    """Whether a class descends from torch's module only, and does not list its parts by itself."""
    own = {each.name for each in cls.body if isinstance(each, ast.FunctionDef)}
    bases = [base for base in cls.bases if not _is_bare_of_state(analysis, base)]
    return bool(bases) and not own & _KEEPS_BOOKS and all(_is_plain(analysis, base) for base in bases)


def _is_bare_of_state(analysis: Analysis, base: ast.expr) -> bool:
    """Whether a base only says something to readers: `ABC`, `Generic[T]`."""
    named = base.value if isinstance(base, ast.Subscript) else base
    return analysis.value(named) in (Library("abc.ABC"), Library("typing.Generic"))


def _is_plain(analysis: Analysis, base: ast.expr) -> bool:
    match analysis.value(base):
        case Class(node=node):
            return _leaves_it_to_torch(analysis, node)
        case Library(name):
            return name in _BASES or name.endswith(_BASES_OF_LIBRARIES)
        case _:
            return False


def _methods(cls: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    return (each for each in cls.body if isinstance(each, ast.FunctionDef) and each.args.args)


def _plain_containers(cls: ast.ClassDef) -> frozenset[str]:
    """Return the attributes that a class gives nothing but containers of Python, or names of local ones."""
    given = [
        (target.attr, value)
        for node in walk(cls)
        for target, value in _assignments(node)
        if isinstance(target, ast.Attribute)
    ]
    return frozenset(name for name, _ in given) - {name for name, value in given if not _is_container(value)}


def _assignments(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield what a statement gives to what, with or without an annotation."""
    if isinstance(node, ast.Assign):
        yield from ((target, node.value) for target in node.targets)
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        yield node.target, node.value


def _is_container(value: ast.expr) -> bool:
    match value:
        case ast.List() | ast.Tuple() | ast.Dict() | ast.ListComp() | ast.DictComp() | ast.Name():
            return True
        case ast.Call(ast.Name("list" | "dict" | "OrderedDict" | "defaultdict")):
            return True
        case ast.BinOp(left, ast.Add() | ast.Mult(), right):
            return _is_container(left) or _is_container(right)
        case _:
            return False


def _growths(analysis: Analysis, method: ast.FunctionDef) -> Iterator[_Growth]:
    """Yield what comes into the containers of a module in one method, by way of local lists too."""
    receiver, local = method.args.args[0].arg, _local_lists(analysis, method)
    for node in walk(method):
        for target, value in _assignments(node):
            match target, value:
                case ast.Attribute(ast.Name(owner), name), ast.Name(source) if owner == receiver and source in local:
                    yield _Growth(name, node, local[source])
                case ast.Attribute(ast.Name(owner), name), _ if owner == receiver:
                    yield from _growth(analysis, name, node, _elements(value))
                case ast.Subscript(ast.Attribute(ast.Name(owner), name)), _ if owner == receiver:
                    yield from _growth(analysis, name, node, [value])
        match node:
            case ast.Call(ast.Attribute(ast.Attribute(ast.Name(owner), name), how), args) if owner == receiver:
                yield from _growth(analysis, name, node, _added(how, args))
            case _:
                continue


def _added(how: str, args: list[ast.expr]) -> list[ast.expr]:
    """Return what a method of a list puts into it."""
    if how == "extend" and args:
        return _elements(args[0])
    return args[_PLACE[how] :][:1] if how in _PLACE else []


def _growth(analysis: Analysis, name: str, node: ast.AST, elements: list[ast.expr]) -> Iterator[_Growth]:
    if any(bears_parameters(analysis, element) for element in elements):
        yield _Growth(name, node, parameters=False)
    elif any(is_parameter(analysis, element) for element in elements):
        yield _Growth(name, node, parameters=True)


def _elements(value: ast.expr) -> list[ast.expr]:
    """Return what a display or comprehension puts into a container; a list of one hides a module on purpose."""
    match value:
        case ast.List(elements) | ast.Tuple(elements) if len(elements) > 1:
            return list(elements)
        case ast.Dict(values=values) if len(values) > 1:
            return list(values)
        case ast.ListComp(element) | ast.DictComp(value=element):
            return [element]
        case ast.BinOp(left, ast.Add() | ast.Mult(), right):
            return [*_elements(left), *_elements(right)]
        case _:
            return []


def _local_lists(analysis: Analysis, method: ast.FunctionDef) -> Mapping[str, bool]:
    """Return the local lists of a method that get modules (or, if true, parameters) and are used for nothing else."""
    made: dict[str, list[_Growth]] = defaultdict(list)
    allowed: set[ast.expr] = set()
    given: dict[str, list[ast.expr]] = defaultdict(list)
    for node in walk(method):
        for target, value in _assignments(node):
            if isinstance(target, ast.Name):
                made[target.id] += _growth(analysis, target.id, node, _elements(value))
                given[target.id].append(value)
            elif isinstance(target, ast.Attribute) and isinstance(value, ast.Name):
                allowed.add(value)
        match node:
            case ast.Call(ast.Attribute(ast.Name(name) as owner, "append" | "insert" | "extend" as how), args):
                made[name] += _growth(analysis, name, node, _added(how, args))
                allowed.add(owner)
            case _:
                continue
    loads = (node for node in walk(method) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
    used = {node.id for node in loads if node not in allowed}
    plain = {name for name, values in given.items() if all(map(_is_container, values))}
    return {name: found[0].parameters for name, found in made.items() if found and name in plain - used}


def _handed_on(tree: ast.Module, names: set[str]) -> Iterator[str]:
    """Yield which of the attributes `names` are used for more than to run their elements: somebody may register them."""
    above = {child: node for node in walk(tree) for child in children(node)}
    for node in above:
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Load)
            and node.attr in names
            and not _only_runs(node, above)
        ):
            yield node.attr


def _only_runs(node: ast.AST, above: Mapping[ast.AST, ast.AST]) -> bool:
    parent = above[node]
    match parent:
        case ast.For(iter=source) | ast.comprehension(iter=source) if source is node:
            loop = parent if isinstance(parent, ast.For) else above[parent]
            return not any(_looks_after(each) for each in walk(loop))
        case ast.Call(ast.Name(name)) if name in _READS:
            return name == "len" or _only_runs(parent, above)
        case ast.Call(func=callee):
            return callee is node
        case ast.Subscript(ctx=ast.Store()) | ast.Compare():
            return True
        case ast.Subscript(value=owner):
            return owner is not node or _only_runs(parent, above)
        case ast.Attribute(attr=name):
            return name in ("append", "insert", "extend") or (
                name in ("items", "values") and _only_runs(above[parent], above)
            )
        case _:
            return False


def _looks_after(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name in _LOOKS_AFTER or name == "setattr"
        case _:
            return False
