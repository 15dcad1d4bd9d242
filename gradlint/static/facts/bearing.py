"""What a call certainly makes: a module with parameters of its own, or a parameter.

It knows names of torch and the classes in sight; it must not know states or rules.
"""

from __future__ import annotations

import ast

from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.lowering.algebra import held
from gradlint.static.lowering.values import UNKNOWN, Class, Kind, Library, Object, Value
from gradlint.static.sources.library import role_of
from gradlint.static.syntax.nodes import walk

_BEARING = regex(
    r"torch\.nn\.(modules\.\w+\.)?(Lazy)?(Linear|Bilinear|Conv\w*|BatchNorm\w*|LayerNorm|GroupNorm|Embedding\w*|RNN\w*|LSTM\w*"
    r"|GRU\w*|MultiheadAttention|Transformer\w*|PReLU)$"
)
_LAYER = regex(
    r"torch\.nn\.(modules\.\w+\.)?(Linear|Bilinear|Conv\d\w*|ConvTranspose\w*|BatchNorm\w*|LayerNorm|GroupNorm|Embedding\w*)$"
)
_HOLDERS = frozenset(["torch.nn.Sequential", "torch.nn.ModuleList", "torch.nn.ModuleDict"])
_SAME = frozenset(["to", "cuda", "cpu", "float", "double", "half"])


def has_parameters(name: str) -> bool:
    """Whether a class, or function, of a library certainly makes a module with parameters."""
    return bool(_BEARING.match(name)) or name.startswith("torchvision.models.")


def owners_of_all(analysis: Analysis, module: Uid) -> frozenset[Uid]:
    """Return the optimizers that train a module, or that hold all its parts, where they were given these one by one."""
    known, lowering = analysis.owners(module), analysis.lowering
    if known or module not in lowering.instances:
        return known
    members = [lowering.store.get((module, name), UNKNOWN) for name in lowering.members.get(module, ())]
    found = [analysis.owners(uid) for each in members if not _is_bare(each) for uid in held((each,))]
    return frozenset().union(*found) if all(found) else frozenset()


def _is_bare(value: Value) -> bool:
    """Whether an attribute certainly holds no parameters."""
    if not isinstance(value, Object) or not value.origin.startswith("torch.nn."):
        return False
    return value.origin not in _HOLDERS and not has_parameters(value.origin)


def bears_weights(analysis: Analysis, uid: Uid) -> bool:
    """Whether a module that was built has parameters: one of the project's classes, unless it makes nothing that could have."""
    lowering = analysis.lowering
    cls, made = lowering.instances.get(uid), lowering.objects.get(uid)
    if cls is not None:
        return lowering.is_module(cls) and lowering.may_have_weights(cls)
    if made is None or made.kind is not Kind.MODULE:
        return False
    return has_parameters(made.origin) or any(bears_weights(analysis, part) for part in _built_of(analysis, made))


def _built_of(analysis: Analysis, made: Object) -> frozenset[Uid]:
    """Return what a module was certainly built of."""
    lowering = analysis.lowering
    given = (lowering.store.get((made.uid, name)) for name in lowering.members.get(made.uid, ()) if name[0] == "*")
    return held(each for each in given if each is not None) - {made.uid}


def built_in_place(analysis: Analysis, event: Event) -> frozenset[Uid]:
    """Return what was built in the place of what an event replaces."""
    return frozenset(analysis.lowering.successors[uid, event.place] for uid in event.targets or ())


def bears_parameters(analysis: Analysis, node: ast.expr) -> bool:
    """Whether an expression makes, right there, a module that has parameters."""
    match node:
        case ast.Call(ast.Attribute(made, name)) if name in _SAME:
            return bears_parameters(analysis, made)
        case ast.Call(callee, args):
            match analysis.value(callee):
                case Library(name) if _BEARING.match(name):
                    return True
                case Library(name) if name in _HOLDERS:
                    return any(bears_parameters(analysis, each) for arg in args for each in _parts(arg))
                case Class() as cls:
                    return analysis.lowering.is_module(cls) and _class_bears(analysis, cls)
    return False


def is_layer(analysis: Analysis, node: ast.expr) -> bool:
    """Whether an expression makes, right there, one of torch's layers whose parameters are `weight` and perhaps `bias`."""
    match node:
        case ast.Call(ast.Attribute(made, name)) if name in _SAME:
            return is_layer(analysis, made)
        case ast.Call(callee):
            known = analysis.value(callee)
            return isinstance(known, Library) and bool(_LAYER.match(known.name))
    return False


def makes_module(analysis: Analysis, node: ast.expr) -> bool:
    """Whether an expression makes, right there, a module."""
    match node:
        case ast.Call(ast.Attribute(made, name)) if name in (*_SAME, "eval", "train", "requires_grad_"):
            return makes_module(analysis, made)
        case ast.Call(callee):
            match analysis.value(callee):
                case Library(name):
                    return role_of(name) in ("module", "criterion") and not name.endswith(("Parameter", "Buffer"))
                case Class() as cls:
                    return analysis.lowering.is_module(cls)
    return False


def is_parameter(analysis: Analysis, node: ast.expr) -> bool:
    """Whether an expression makes, right there, a parameter."""
    if not isinstance(node, ast.Call):
        return False
    callee = analysis.value(node.func)
    return isinstance(callee, Library) and role_of(callee.name) == "parameter"


def _parts(node: ast.expr) -> list[ast.expr]:
    match node:
        case ast.List(elements) | ast.Tuple(elements):
            return list(elements)
        case ast.Starred(inner):
            return _parts(inner)
        case ast.ListComp(element) | ast.GeneratorExp(element):
            return [element]
        case _:
            return [node]


def _class_bears(analysis: Analysis, cls: Class) -> bool:
    """Whether the source of a class, or of a base in sight, makes something with parameters."""
    return any(
        isinstance(node, ast.Call) and (_is_trainable(analysis, node) or _is_bearing(analysis, node.func))
        for each in analysis.lowering.lineage(cls)
        for node in walk(each.node)
    )


def _is_trainable(analysis: Analysis, node: ast.Call) -> bool:
    """Whether a call makes a parameter, and not a constant that is one only to be moved with its module."""
    given = [*node.args[1:2], *(keyword.value for keyword in node.keywords if keyword.arg == "requires_grad")]
    constant = any(isinstance(each, ast.Constant) and each.value is False for each in given)
    return not constant and is_parameter(analysis, node)


def _is_bearing(analysis: Analysis, callee: ast.expr) -> bool:
    known = analysis.value(callee)
    return isinstance(known, Library) and bool(_BEARING.match(known.name))
