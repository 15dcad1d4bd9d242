"""Parameters that a module changes in place while it is built, with gradients on, which torch refuses: GL114.

It reads `__init__` and the methods that it calls; a caller that builds modules with gradients off is not thought of.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, replace
from functools import cached_property

from gradlint.data import dataclass
from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import by_words, check
from gradlint.static.facts.bearing import is_layer, is_parameter
from gradlint.static.lowering.values import Library
from gradlint.static.syntax.nodes import children, walk, walk_of
from gradlint.static.syntax.questions import FunctionNode

_OWN = frozenset(["weight", "bias"])
"""The parameters of torch's own layers."""
_HELD = ("Parameter", *(f".{name}" for name in sorted(_OWN)))
"""One of these words stands where a parameter has a name."""
_VIEWS = frozenset(
    ["view", "view_as", "t", "transpose", "permute", "squeeze", "unsqueeze", "narrow", "select", "expand"]
)
_SETTINGS = frozenset(["requires_grad_", "detach_", "share_memory_", "rename_"])
_SWITCHES = frozenset(["set_grad_enabled", "inference_mode"])
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@check
@by_words
def changed_in_place(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL114: a parameter is initialised in place outside of `torch.no_grad()`."""
    if not all(map(analysis.says, ("self.", "torch"))) or not analysis.says(*_HELD):
        return
    for cls in analysis.nodes(ast.ClassDef):
        methods = {each.name: each for each in cls.body if isinstance(each, ast.FunctionDef)}
        changing = {name for name, method in methods.items() if _may_change(method)}
        building = _building(analysis, methods, changing) if changing and "__init__" in methods else ()
        found = [
            each
            for method in building
            if method.name in changing
            for each in _changes(analysis, _Parameters(analysis, cls, method))
        ]
        yield from found if found and not _freezes(cls) else ()


def _freezes(cls: ast.ClassDef) -> bool:
    """Whether a class tells anybody whether to require gradients."""
    return any(
        isinstance(node, ast.Attribute) and node.attr in ("requires_grad", "requires_grad_") for node in walk(cls)
    )


def _building(analysis: Analysis, methods: dict[str, ast.FunctionDef], wanted: set[str]) -> Iterator[ast.FunctionDef]:
    """Yield `__init__` and the methods that run in it with gradients on, until all that are `wanted` have come."""
    todo, done = ["__init__"], set[str]()
    while todo:
        name = todo.pop()
        if name in done or name not in methods or not _plain(analysis, methods[name]):
            continue
        done.add(name)
        yield methods[name]
        if wanted <= done:
            return
        for node in _recorded(analysis, methods[name].body):
            match node:
                case ast.Call(ast.Attribute(ast.Name("self"), called)):
                    todo.append(called)


def _plain(analysis: Analysis, method: FunctionNode) -> bool:
    """Whether a method leaves the grad mode alone."""
    called = analysis.lowering.syntax.called(method)
    return not called & _SWITCHES and not any(
        analysis.lowering.mode_of(each) is not None or "grad" in ast.unparse(each) for each in method.decorator_list
    )


def _recorded(analysis: Analysis, body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield the nodes of statements, without what stands under another grad mode or in a function of its own."""
    todo = [*body]
    todo.reverse()
    while todo:
        node = todo.pop()
        if isinstance(node, _SCOPES):
            continue
        if isinstance(node, ast.With) and any(_switches(analysis, item.context_expr) for item in node.items):
            continue
        yield node
        todo += reversed(children(node))


def _switches(analysis: Analysis, context: ast.expr) -> bool:
    return analysis.lowering.mode_of(context) is not None or "grad" in ast.unparse(context)


@dataclass(frozen=True)
class _Parameters:
    """What is certainly a parameter in one method of a class."""

    analysis: Analysis
    cls: ast.ClassDef
    method: ast.FunctionDef
    _asked: set[str] = field(default_factory=set)
    """Names that are given what comes from themselves, such as `x = x.view(-1)`, are asked once."""

    def __contains__(self, node: ast.expr) -> bool:
        match node:
            case ast.Attribute(ast.Attribute(ast.Name("self"), layer), name) if name in _OWN and self._is_layer(layer):
                return True
            case ast.Attribute(ast.Name("self")):
                return self._all_given(self._in_class, node)
            case ast.Attribute(_, name):
                # What is replaced by a parameter is one, where layers have it.
                return name in _OWN and self._all_given(self._in_method, node)
            case ast.Name(name):
                given = self._in_method.get(name, [])
                if len(given) != 1 or name in self._asked:
                    return False
                self._asked.add(name)
                found = self.is_view(given[0])
                self._asked.discard(name)
                return found
            case _:
                return False

    def is_view(self, node: ast.expr) -> bool:
        """Whether an expression is a parameter or shares its memory."""
        match node:
            case ast.Call(ast.Attribute(viewed, how)) if how in _VIEWS:
                return self.is_view(viewed)
            case ast.Subscript(viewed) | ast.Attribute(viewed, "T"):
                return self.is_view(viewed)
            case _:
                return node in self

    def _is_layer(self, name: str) -> bool:
        given = self._in_class.get(f"self.{name}", [])
        return bool(given) and all(is_layer(self.analysis, value) for value in given)

    def _all_given(self, names: Mapping[str, list[ast.expr]], node: ast.expr) -> bool:
        given = names.get(ast.unparse(node), [])
        return bool(given) and all(
            is_parameter(self.analysis, value) and not _frozen(value) for value in given if not _is_none(value)
        )

    @cached_property
    def _in_class(self) -> Mapping[str, list[ast.expr]]:
        return _given(self.cls)

    @cached_property
    def _in_method(self) -> Mapping[str, list[ast.expr]]:
        return _given(self.method)


def _given(scope: ast.AST) -> Mapping[str, list[ast.expr]]:
    """Return what names are given in a scope, by whatever statement."""
    found: dict[str, list[ast.expr]] = defaultdict(list)
    for node in walk(scope):
        match node:
            case ast.Assign(targets, value):
                each = [
                    part for target in targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])
                ]
            case ast.AnnAssign(target, _, value) if value is not None:
                each = [target]
            case ast.For(target, value):
                each = [part for part in walk(target) if isinstance(part, ast.Name)]
            case _:
                continue
        for part in each:
            if isinstance(part, (ast.Name, ast.Attribute)):
                found[ast.unparse(part)].append(value)
    return found


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _frozen(made: ast.expr) -> bool:
    """Whether a parameter is perhaps made without gradients."""
    assert isinstance(made, ast.Call)
    flags = [*made.args[1:], *(each.value for each in made.keywords if each.arg in ("requires_grad", None))]
    return any(not (isinstance(flag, ast.Constant) and flag.value is True) for flag in flags)


def _changes(analysis: Analysis, known: _Parameters) -> Iterator[Diagnostic]:
    for node in _recorded(analysis, known.method.body):
        changed = _changed(analysis, node)
        if changed is not None and known.is_view(changed):
            spelled = ast.unparse(changed)
            found = compose(
                "GL114", Side.STATIC, analysis.source.place(node), subject=spelled, what=_REFUSED, update=spelled
            )
            yield replace(
                found, help=f"change `{spelled}` under `torch.no_grad()`, or by a function of `torch.nn.init`"
            )


_REFUSED = "a leaf that requires gradients is changed in place where they are recorded, and torch raises RuntimeError"


def _may_change(method: ast.FunctionDef) -> bool:
    """Whether anything in a method is of a sort that changes something in place."""
    if walk_of(method, ast.AugAssign) or any(each.arg == "out" for each in walk_of(method, ast.keyword)):
        return True
    called = (call.func for call in walk_of(method, ast.Call))
    return any(isinstance(func, ast.Attribute) and _in_place(func.attr) for func in called) or any(
        isinstance(node.targets[0], ast.Subscript) for node in walk_of(method, ast.Assign)
    )


def _changed(analysis: Analysis, node: ast.AST) -> ast.expr | None:
    """Return what a node changes in place."""
    match node:
        case ast.Assign([ast.Subscript() as target]):
            return target.value
        case ast.AugAssign(target):
            return target.value if isinstance(target, ast.Subscript) else target
        case ast.Call(ast.Attribute(owner, name)) if _in_place(name):
            return owner
        case ast.Call(callee, keywords=keywords) if any(each.arg == "out" for each in keywords):
            known = analysis.value(callee)
            library = isinstance(known, Library) and known.name.startswith("torch.")
            return next(each.value for each in keywords if each.arg == "out") if library else None
        case _:
            return None


def _in_place(method: str) -> bool:
    return method.endswith("_") and not method.startswith("_") and method not in _SETTINGS
