"""Uses: what a function or a class takes somebody for, by what it asks of the name: an optimizer, a scaler, a module, an engine.

It knows `ast` only; it must not know values.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from gradlint.regex import regex
from gradlint.static.syntax.nodes import once, root, spelled, walk, walk_of, words

_CALLED_OPTIMIZER = regex(r"(?:^|[._])opt(?:im)?(?:$|[._A-Z\d])|[oO]ptimi[sz]er")
"""What is stepped behind a backward pass and has a name like this is an optimizer, also where nobody clears its gradients."""
_CLEARS = regex(r"(?:^|_)zero_?(?:grad|param|all|$)|(?:clear|reset)_?grad|^_?grad$")
"""Words of whoever clears gradients, or looks at them."""
_MODES = frozenset(["train", "eval"])
_DRIVES = frozenset(["backward", "step", "step(...)"])
_NO_OPTIMIZER = frozenset(["backward", "step(...)", "parameters", "train", "eval", "forward", "update", "first_step"])
_TELLING = _NO_OPTIMIZER | {"zero_grad", "step", "scale"}


def stepped_by_name(scope: ast.AST) -> frozenset[str]:
    """Return the optimizers of a scope, as they are spelled."""
    # What runs backward by itself, or is told what to step, is an engine; an optimizer that scales losses is called one.
    asked = methods_asked(scope)
    scaled = _stepped_by_scalers(scope, asked)
    stepped = {
        name: methods
        for name, methods in asked.items()
        if ("step" in methods or name in scaled)
        and not methods & _NO_OPTIMIZER - ({"backward"} if _is_called_optimizer(name, methods) else set())
    }
    sure = {name for name, methods in stepped.items() if "zero_grad" in methods}
    likely = stepped.keys() | scaled - asked.keys()
    return frozenset(sure or (filter(_CALLED_OPTIMIZER.search, likely) if likely and _only_adds(scope) else ()))


def _stepped_by_scalers(scope: ast.AST, asked: dict[str, set[str]]) -> set[str]:
    """Return who is handed to the `step` of one that scales losses, too: to a gradient scaler."""
    scaling = {name for name, methods in asked.items() if {"step(...)", "scale"} <= methods}
    calls = walk_of(scope, ast.Call) if scaling else ()
    found = set()
    for call in calls:
        match call:
            case ast.Call(ast.Attribute(owner, "step"), [optimizer]) if _is_dotted(owner) and _is_dotted(optimizer):
                if spelled(owner) in scaling:
                    found.add(spelled(optimizer))
            case _:
                continue
    return found


def _is_called_optimizer(name: str, methods: set[str]) -> bool:
    return "zero_grad" in methods and bool(_CALLED_OPTIMIZER.search(name))


def _only_adds(scope: ast.AST) -> bool:
    """Whether gradients are computed somewhere, and nothing is said of clearing them, or of what they are."""
    attributes = {node.attr for node in walk_of(scope, ast.Attribute)}
    said = attributes | {node.id for node in walk_of(scope, ast.Name)}
    return "backward" in attributes and not any(_CLEARS.search(word) for word in said)


def scaled_by_name(scope: ast.AST) -> frozenset[str]:
    """Return the gradient scalers of a scope, as they are spelled."""
    asked = methods_asked(scope)
    scaling = {name for name, methods in asked.items() if {"step(...)", "update"} <= methods}
    return frozenset(name for name in scaling if "scale" in asked[name] or _steps_what_is_cleared(scope, name, asked))


def _steps_what_is_cleared(scope: ast.AST, name: str, asked: dict[str, set[str]]) -> bool:
    """Whether the only argument of each `step` is asked to clear gradients: an optimizer."""
    calls = [node for node in walk(scope) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    steps = [call.args for call in calls if ast.unparse(call.func) == f"{name}.step"]
    return all(len(args) == 1 and "zero_grad" in asked.get(ast.unparse(args[0]), ()) for args in steps)


def run_by_name(scope: ast.AST) -> frozenset[str]:
    """Return whom a scope puts into training mode and calls, as it is spelled."""
    return _among_callees({name for name, methods in methods_asked(scope).items() if "train" in methods}, scope)


def evaluated_by_name(scope: ast.AST) -> frozenset[str]:
    """Return whom a scope puts into evaluation mode and calls, where it steps nobody, as it is spelled."""
    asked = methods_asked(scope)
    steps = any(methods & {"step", "step(...)", "backward"} for methods in asked.values())
    return _among_callees({name for name, methods in asked.items() if "eval" in methods and not steps}, scope)


def switched_by_name(scope: ast.AST) -> frozenset[str]:
    """Return whom a scope calls, and puts into a mode without a word more, as it is spelled."""
    calls = (node for node in walk_of(scope, ast.Call) if not node.args and not node.keywords)
    callees = [node.func for node in calls if isinstance(node.func, ast.Attribute) and node.func.attr in _MODES]
    return _among_callees({spelled(each.value) for each in callees if _is_dotted(each.value)}, scope)


def adding_names(scope: ast.AST) -> frozenset[str]:
    """Return the names of which a scope only asks whether there is something, to do more then: `if loss is not None:`."""
    asked = [node for node in walk_of(scope, ast.If) if not node.orelse]
    tests = {node.test: name for node in asked if (name := _there(node.test))}
    conditions: list[ast.If | ast.IfExp | ast.While] = [*walk_of(scope, ast.If), *walk_of(scope, ast.IfExp)]
    conditions += walk_of(scope, ast.While)
    inside = (*walk_of(scope, ast.BoolOp), *walk_of(scope, ast.Compare), *walk_of(scope, ast.UnaryOp))
    others = [node for node in (*(each.test for each in conditions), *inside) if node not in tests]
    bound = {node.id for node in walk_of(scope, ast.Name) if isinstance(node.ctx, ast.Store)}
    return frozenset(tests.values()) - bound - {name for node in others for name in words(node)}


def _there(test: ast.expr) -> str:
    """Return the name of which a condition only asks whether there is something ("": it asks something else)."""
    match test:
        case ast.Name(name) | ast.Compare(ast.Name(name), [ast.IsNot()], [ast.Constant(None)]):
            return name
        case _:
            return ""


def driving_by_name(scope: ast.AST) -> frozenset[str]:
    """Return who runs backward or steps by itself, as it is spelled."""
    return frozenset(name for name, methods in methods_asked(scope).items() if methods & _DRIVES)


def _among_callees(names: set[str], scope: ast.AST) -> frozenset[str]:
    callees = (node.func for node in walk_of(scope, ast.Call) if names and _is_dotted(node.func))
    return frozenset(names.intersection(map(spelled, callees)))


def methods_asked(scope: ast.AST) -> dict[str, set[str]]:
    """Return the telling methods that are called of names and of attributes, as these are spelled."""
    return once(_methods_asked, scope)


def _methods_asked(scope: ast.AST) -> dict[str, set[str]]:
    asked: dict[str, set[str]] = defaultdict(set)
    for call in walk_of(scope, ast.Call):
        func = call.func
        if isinstance(func, ast.Attribute) and func.attr in _TELLING and _is_dotted(func.value):
            asked[spelled(func.value)].add("step(...)" if call.args and func.attr == "step" else func.attr)
    return asked


def _is_dotted(node: ast.expr) -> bool:
    return isinstance(root(node), ast.Name)


def assigned_in(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield what a function assigns to what, one target at a time."""
    for each in walk_of(node, ast.Assign):
        yield from (
            (part, each.value) for target in each.targets for part in walk(target) if isinstance(part, ast.expr)
        )


def is_attribute(target: ast.expr, name: str) -> bool:
    """Whether a target is an attribute of that name."""
    return isinstance(target, ast.Attribute) and target.attr == name


def attributes_used(value: ast.expr, me: str) -> Iterator[str]:
    """Yield the attributes of an object, there called `me`, that an expression uses ("": itself)."""
    read = {part.value: part.attr for part in walk_of(value, ast.Attribute) if isinstance(part.value, ast.Name)}
    yield from (read.get(part, "") for part in walk_of(value, ast.Name) if part.id == me)
