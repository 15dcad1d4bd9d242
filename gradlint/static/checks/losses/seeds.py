"""Seeds that are set again and again, not at all, or in vain: GL905 and GL919 to GL921."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Edit, Fix, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import by_words, check, in_tests, local_check
from gradlint.static.lowering.values import Library, Unknown, const
from gradlint.static.sources.library import role_of
from gradlint.static.syntax.nodes import own, spelled, walk

_SEEDS = frozenset(["manual_seed", "manual_seed_all", "seed_everything", "set_seed"])
_DRAWN = regex(r"rng_state|\bfork_rng|\brand(?:n|int|perm|_like|n_like)?\b|\bsample\w*\(|\bnormal_?\b|\bgenerate\b")
"""What is drawn, or put back, in a loop whose author wants the same numbers in each iteration."""

Ring = ast.For | ast.AsyncFor | ast.While


@check
@by_words
def reseeded(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL919: the generator is set to one and the same seed before each step."""
    if not analysis.says(*_SEEDS):
        return
    for loop in rings(analysis):
        calls = [each.value for each in loop.body if isinstance(each, ast.Expr) and isinstance(each.value, ast.Call)]
        fixed = [call for call in calls if _is_fixed(analysis, call, loop)]
        if not fixed or _DRAWN.search(ast.unparse(loop)):
            continue
        for call in fixed:
            yield compose("GL919", Side.STATIC, analysis.source.place(call), subject=ast.unparse(call.func))


def rings(analysis: Analysis) -> Iterator[Ring]:
    """Yield the loops that step, in each turn, an optimizer that outlives the turn."""
    stepping: dict[int, bool] = {}
    for root in analysis.roots:
        steps = [event for event in root.of(EventKind.STEP) if event.loops]
        created = root.of(EventKind.CREATE) if steps else ()
        made = {(uid, number) for event in created for uid in event.targets or () for number in event.loops}
        for event in steps:
            number = event.loops[-1]
            fresh = any((uid, number) in made for uid in event.targets or ())
            stepping[number] = stepping.get(number, True) and not fresh
    for number, lasting in stepping.items():
        loop = analysis.lowering.loop_nodes.get(number)
        if lasting and isinstance(loop, Ring):
            yield loop


def _is_fixed(analysis: Analysis, call: ast.Call, loop: Ring) -> bool:
    """Whether a call sets torch's generator to a seed that no iteration changes."""
    callee = analysis.value(call.func)
    if not (isinstance(callee, Library) and role_of(callee.name) == "seed"):
        return False
    changing = analysis.lowering.syntax.assigned(loop) | analysis.lowering.syntax.assigned_attributes(loop)
    given = [part for arg in call.args for part in walk(arg)]
    return bool(
        callee.name.rpartition(".")[2] in _SEEDS
        and call.args
        and not any(isinstance(part, ast.Call) for part in given)
        and not any(isinstance(part, ast.Name) and part.id in changing for part in given)
        and not any(isinstance(part, ast.Attribute) and part.attr in changing for part in given)
    )


@local_check
@by_words
def zero_ignored(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL920: whether a seed was given is asked by its truth, so that 0 is taken for none."""
    if not analysis.says(*_SEEDS):
        return
    branches: list[ast.If | ast.IfExp] = [*analysis.nodes(ast.If), *analysis.nodes(ast.IfExp)]
    for node in branches:
        if isinstance(node.test, (ast.Name, ast.Attribute)) and "seed" in spelled(node.test):
            body: list[ast.AST] = [*node.body] if isinstance(node, ast.If) else [node.body]
            calls = (each for part in body for each in walk(part) if isinstance(each, ast.Call))
            if any(_seeds_with(each, ast.unparse(node.test)) for each in calls):
                place = analysis.source.place(node.test)
                yield compose("GL920", Side.STATIC, place, subject=ast.unparse(node.test))


def _seeds_with(call: ast.Call, seed: str) -> bool:
    """Whether a call seeds a generator with what is spelled like this."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return called in _SEEDS and bool(call.args) and ast.unparse(call.args[0]) == seed


_GIVEN = regex(r"(?:^|_)seed$")
_SHUFFLES = regex(r"DataLoader$|Sampler$")


@local_check
def given_in_vain(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL921: a function is given a seed, and orders its data by a generator that it always seeds with the same number."""
    if not analysis.says("Generator("):
        return
    for function in analysis.scopes_with("manual_seed"):
        if isinstance(function, ast.Module):
            continue
        args = function.args
        given = [arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs) if _GIVEN.search(arg.arg)]
        for call in _fixed_generators(analysis, function) if given else ():
            if _orders_data(function, call):
                place, seed = analysis.source.place(call), ast.unparse(call.args[0])
                yield compose("GL921", Side.STATIC, place, subject=given[0], seed=seed)


def _fixed_generators(analysis: Analysis, function: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls that seed a generator, where it is made, with a number that is written there."""
    for node in own(function):
        match node:
            case ast.Call(ast.Attribute(ast.Call(maker), "manual_seed"), [ast.Constant(int())]):
                if analysis.value(maker) == Library("torch.Generator"):
                    yield node
            case _:
                continue


def _orders_data(function: ast.AST, generator: ast.Call) -> bool:
    """Whether a generator becomes that of a loader or a sampler, by its own expression or by a name."""
    names = {
        node.targets[0].id
        for node in own(function)
        if isinstance(node, ast.Assign) and node.value is generator and isinstance(node.targets[0], ast.Name)
    }

    def is_it(node: ast.expr) -> bool:
        return node is generator or (isinstance(node, ast.Name) and node.id in names)

    for node in own(function):
        match node:
            case ast.Assign([ast.Attribute(attr="generator")], value) if is_it(value):
                return True
            case ast.Call(ast.Name(called) | ast.Attribute(attr=called), keywords=keywords) if _SHUFFLES.search(called):
                if any(keyword.arg == "generator" and is_it(keyword.value) for keyword in keywords):
                    return True
    return False


_SEEDERS = {
    "torch.random.seeds": "torch.manual_seed",
    "torch.random.seed": "torch.manual_seed",
    "torch.random.manual_seed": "torch.manual_seed",
    "torch.manual_seed": "torch.manual_seed",
    "torch.seed": "torch.manual_seed",
    "torch.cuda.manual_seed": "torch.cuda.manual_seed",
    "torch.cuda.manual_seed_all": "torch.cuda.manual_seed_all",
    "numpy.random.seed": "numpy.random.seed",
    "numpy.random.seeds": "numpy.random.seed",
    "random.seed": "random.seed",
    "random.seeds": "random.seed",
}


@local_check
@by_words
@in_tests
def seed_assigned(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL905: `torch.random.seeds = 100`."""
    for node in analysis.nodes(ast.Assign) if analysis.says("seed") else ():
        match node.targets:
            case [ast.Attribute() as target]:
                known = analysis.value(target.value)
                if isinstance(known, Library):
                    yield from _seed(analysis, node, target, f"{known.name}.{target.attr}", node.value)
            case _:
                continue


def _seed(
    analysis: Analysis, node: ast.Assign, target: ast.Attribute, name: str, value: ast.expr
) -> Iterator[Diagnostic]:
    call = _SEEDERS.get(name)
    if call is None or not _is_number(analysis, value):
        return
    owner = ast.unparse(target.value)
    module = owner.removesuffix(".random") if call == "torch.manual_seed" else owner
    spelled = f"{module}.{call.rsplit('.', 1)[1]}"
    place = analysis.source.place(node)
    text = ast.unparse(value)
    found = compose("GL905", Side.STATIC, place, subject=ast.unparse(target), value=text, call=spelled)
    yield replace(found, fix=Fix("Call the function", (Edit(place, f"{spelled}({text})"),), safe=True))


def _is_number(analysis: Analysis, value: ast.expr) -> bool:
    """Whether a value is a seed; a function in that place is put there on purpose."""
    known = const(analysis.value(value))
    named = isinstance(value, (ast.Name, ast.Attribute, ast.Subscript)) and "seed" in ast.unparse(value).lower()
    return isinstance(known, int) or (named and isinstance(analysis.value(value), Unknown))
