"""What is kept, dropped or given in place of what was meant: graphs, arguments and copies."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from gradlint.diagnostics import Diagnostic
from gradlint.static.fixes.changes import Insert
from gradlint.static.fixes.remedy import (
    Builder,
    Remedy,
    between,
    loads,
    own_statement,
    plain,
    receiver,
    related,
    replaced,
    without,
    wrapped,
)
from gradlint.static.syntax.nodes import called
from gradlint.static.syntax.outline import Outline, written

_SQUASHING = frozenset(["softmax", "sigmoid"])


def _detach(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL501: keep the value without its graph."""
    kept = _kept(outline, item)
    if kept is None or isinstance(kept, ast.Starred):
        return None
    brackets = not isinstance(kept, (ast.Name, ast.Attribute, ast.Subscript, ast.Call))
    edits = wrapped(outline, kept, "(" if brackets else "", ").detach()" if brackets else ".detach()")
    return Remedy("Keep it without its graph: `.detach()`", edits)


def _kept(outline: Outline, item: Diagnostic) -> ast.expr | None:
    match outline.at(item.location, ast.AugAssign) or outline.at(item.location, ast.Call):
        case ast.AugAssign(_, ast.Add(), value) if not isinstance(value, (ast.List, ast.Tuple)):
            return value
        case ast.Call(ast.Attribute(_, "append"), [value], []) if not isinstance(value, (ast.Tuple, ast.Dict)):
            return value
        case _:
            return None


def _drop_keyword(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL505 and GL507: run backward without the argument that keeps the graph."""
    name = {"GL505": "retain_graph", "GL507": "create_graph"}[item.code]
    call = outline.at(item.location, ast.Call)
    if not item.help.startswith(("drop", "leave it out")):
        return None
    given = [key for key in call.keywords if key.arg == name] if call else []
    if call is None or len(given) != 1:
        return None
    return Remedy(f"Drop `{name}`", (without(outline, call, given[0]),))


def _keep_number(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL510: add the tensor, not its number."""
    match outline.at(item.location, ast.Call):
        case ast.Call(ast.Attribute(value, "item" | "detach"), [], []) as call:
            return Remedy(f"Add `{outline.spelled(value)}` itself", (replaced(outline, call, outline.spelled(value)),))
        case _:
            return None


def _create_graph(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL514: let the gradient have a graph of its own."""
    call = outline.at(item.location, ast.Call)
    if call is None or not call.args or any(key.arg in ("create_graph", None) for key in call.keywords):
        return None
    last = max((*call.args, *(key.value for key in call.keywords)), key=lambda node: (node.lineno, node.col_offset))
    return Remedy("Pass `create_graph=True`", wrapped(outline, last, "", ", create_graph=True"))


def _assign(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL522: keep what a method returns under the name that it was called on, or call the one that changes it in place."""
    statement = own_statement(item, outline)
    if statement is not None and item.help.startswith("change it in place"):
        edits = [edit for function in _chain(statement.value) for edit in wrapped(outline, function, "", "_")]
        return Remedy("Change it in place", tuple(edits))
    owner = receiver(statement.value) if statement else None
    if statement is None or owner is None:
        return None
    name = outline.spelled(owner)
    if isinstance(statement.value, ast.Call) and called(statement.value) == "state_dict":
        text = f"{name}.load_state_dict"
        return Remedy(f"Call `{text}(...)`", (replaced(outline, statement.value.func, text),))
    return Remedy(f"Keep what it returns: `{name} = ...`", wrapped(outline, statement, f"{name} = "))


def _chain(call: ast.expr) -> Iterator[ast.expr]:
    """Yield the functions of a chain of calls, the last one first."""
    while isinstance(call, ast.Call):
        yield call.func
        call = call.func.value if isinstance(call.func, ast.Attribute) else call.func


def _listed(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL609: make a list of what is read more than once."""
    made = outline.at(related(item, "made"), ast.Assign)
    if made is None or isinstance(made.value, ast.Tuple):
        return None
    if isinstance(made.value, ast.GeneratorExp):
        text = ast.unparse(made.value)[1:-1]
        return Remedy("Make it a list", (replaced(outline, made.value, f"[{text}]"),))
    return Remedy("Make it a list: `list(...)`", wrapped(outline, made.value, "list(", ")"))


def _copied(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL815: keep a copy of the state."""
    match outline.at(item.location, ast.Assign):
        case ast.Assign([_], ast.Call(ast.Attribute(_, "state_dict")) as value):
            spelled = outline.spelling("copy.deepcopy")
        case _:
            return None
    edits = wrapped(outline, value, f"{spelled or 'copy.deepcopy'}(", ")")
    first = _first_import(outline)
    if spelled is None and first is None:
        return None
    needed = () if spelled is not None or first is None else (Insert("import copy", outline.place(first)),)
    return Remedy("Keep a copy: `copy.deepcopy(...)`", (*needed, *edits))


def _first_import(outline: Outline) -> ast.stmt | None:
    imports = (node for node in outline.tree.body if isinstance(node, (ast.Import, ast.ImportFrom)))
    return next(
        (node for node in imports if not (isinstance(node, ast.ImportFrom) and node.module == "__future__")), None
    )


def _raw(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL901 and GL902: give the loss what the activation is given, or the logarithm if it wants that."""
    call = outline.at(item.location, ast.Call)
    squashed = _squashed(outline, call) if call else None
    if call is None or squashed is None:
        return None
    text = outline.spelled(squashed)
    if "raw scores" in item.help:
        return Remedy(f"Give it `{text}`", (replaced(outline, call, text),))
    func = outline.spelled(call.func)
    if not func.endswith("softmax") or ast.unparse(call.func).startswith("self."):
        return None
    name = f"{func.removesuffix('softmax')}log_softmax"
    return Remedy(f"Use `{name}`", (replaced(outline, call.func, name),))


def _squashed(outline: Outline, call: ast.Call) -> ast.expr | None:
    """Return what an activation is given: the first argument of a function or module, or what a method is called on."""
    match call:
        case ast.Call(ast.Attribute(value, name), [] | [ast.Constant() | ast.UnaryOp()]) if name in _SQUASHING:
            return None if outline.imports(value) else value
        case ast.Call(ast.Attribute(_, name) | ast.Name(name), [first, *_]) if name in _SQUASHING:
            return None if isinstance(first, ast.Starred) else first
        case _:
            return None


def _swapped(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL907: give the loss its first two arguments in their order."""
    match outline.at(item.location, ast.Call):
        case ast.Call(_, [one, two, *_]) if not isinstance(one, ast.Starred) and not isinstance(two, ast.Starred):
            first, second = outline.spelled(one), outline.spelled(two)
        case _:
            return None
    if not f"({second}, {first})" in item.help:
        return None
    return Remedy("Swap them", (replaced(outline, one, second), replaced(outline, two, first)))


def _asked_for_none(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL920: ask whether there is a seed, not whether it is other than zero."""
    seed = outline.at(item.location, ast.Name) or outline.at(item.location, ast.Attribute)
    if seed is None or not plain(seed):
        return None
    return Remedy("Ask `is not None`", wrapped(outline, seed, "", " is not None"))


def _cut_fake(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL509: give the other model what the generator returned, without its graph."""
    made, backward = outline.at(related(item, "made"), ast.Call), outline.at(item.location, ast.Call)
    statement = outline.statement(made) if made else None
    if made is not None and outline.is_argument(made):
        return Remedy(f"Give it `{ast.unparse(made)}.detach()`", wrapped(outline, made, "", ".detach()"))
    match statement:
        case ast.Assign([ast.Name(name)], value) if value is made and backward is not None:
            block = outline.block(statement)
            passed = outline.sibling(backward, block)
        case _:
            return None
    if passed is None or passed not in block[block.index(statement) :]:
        return None
    uses = [node for node in loads(name, between(block, statement, passed)) if outline.is_argument(node)]
    if len(uses) != 1 or name in written(between(block, statement, passed)):
        return None
    return Remedy(f"Give it `{name}.detach()`", wrapped(outline, uses[0], "", ".detach()"))


def _cut_carried(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL506: cut the graph of what the last iteration has left, where that is a tensor from the start."""
    said = re.search(r"`([A-Za-z_]\w*) = \1\.detach\(\)`", item.help)
    backward = outline.at(item.location, ast.Call)
    loop = outline.loop(backward) if backward else None
    if said is None or loop is None:
        return None
    name, block = said[1], outline.block(loop)
    begun = [node for node in block[: block.index(loop)] if name in written([node])]
    match begun[-1:]:
        case [ast.Assign([ast.Name()], ast.Call() as value)] if outline.imports(value.func):
            change = Insert(f"{name} = {name}.detach()", outline.place(loop.body[0]))
            return Remedy(f"Begin the iteration with `{change.code}`", (change,))
        case _:
            return None


BUILDERS: Mapping[str, Builder] = {
    "GL501": _detach,
    "GL505": _drop_keyword,
    "GL506": _cut_carried,
    "GL507": _drop_keyword,
    "GL509": _cut_fake,
    "GL510": _keep_number,
    "GL514": _create_graph,
    "GL522": _assign,
    "GL609": _listed,
    "GL815": _copied,
    "GL901": _raw,
    "GL902": _raw,
    "GL907": _swapped,
    "GL920": _asked_for_none,
}
