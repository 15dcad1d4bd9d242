"""What is understood of one file: the findings of all checks, and on what each of them rests.

It knows the order of work and which findings a caller or a test excuses, not how anything is found.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from itertools import chain

from gradlint.data import NamedTuple, dataclass
from gradlint.diagnostics import Diagnostic
from gradlint.events import EventKind
from gradlint.models import Models
from gradlint.static.analysis import Analysis
from gradlint.static.checks import checks_for, is_local
from gradlint.static.flow.tree import Uid
from gradlint.static.lowering.values import Object, Unknown
from gradlint.static.sources.sights import NOTHING, Answers
from gradlint.static.stack import roomy
from gradlint.static.syntax.flags import Excuses, made_on_cpu, on_cpu, set_by_others, setting

FAILS_ANYHOW = frozenset(
    {
        "GL001",
        "GL110",
        "GL205",
        "GL307",
        "GL401",
        "GL404",
        "GL405",
        "GL503",
        "GL504",
        "GL506",
        "GL508",
        "GL803",
        "GL804",
        "GL905",
    }
)
"""What is wrong in a test as well; tests break the order of a training loop on purpose."""

_CALLERS_EXCUSE_NOTHING = FAILS_ANYHOW | frozenset(
    {"GL519", "GL609", "GL802", "GL807", "GL809", "GL810", "GL811", "GL812", "GL815", "GL823"}
)
"""What is wrong in a function whoever calls it."""

Spot = tuple[str, int, str]
"""A function: its file, the row of its `def`, and its name."""


class Callee(NamedTuple):
    """Something that may be called from another file: its name, and the words of which one must stand there, too; or the
    setting of a flag.
    """

    name: str
    homes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding, and on what it rests.

    `alone` are the functions on whose own reading, with callers unknown, it does (none: on no such reading); `unasked` is the
    attribute by which objects keep what the finding says that nobody steps, or the setting of one, or the device, that decides
    whether it is so ("": nobody else can reach it).
    """

    diagnostic: Diagnostic
    alone: frozenset[Spot] = frozenset()
    unasked: str = ""


@dataclass(frozen=True, slots=True)
class Understanding:
    """What the analysis of one file found, there and in other files, the functions of others that it followed, and on what it rests.

    `asked` are attributes of owners that nobody knows whom it steps, and those that it sets.
    """

    found: tuple[Finding, ...]
    followed: frozenset[Spot]
    answers: Answers = NOTHING
    waiting: frozenset[Callee] = frozenset()
    whole: bool = True
    asked: frozenset[str] = frozenset()


@roomy
def analyze(
    tree: ast.Module,
    source: str,
    filename: str,
    models: Models | None = None,
    pieces: tuple[int, ...] = (),
    accumulation: int = 0,
    whole: bool = True,
) -> Understanding:
    """Analyze a parsed file, or a document with `pieces` that begin at these rows; each place and rule is found once.

    Unless it is to be read as a `whole`, rules that go by words are all that is asked where nothing of training happens.
    """
    analysis = Analysis(tree, source, filename, models, pieces, accumulation, whole)
    found: dict[tuple[object, ...], Finding] = {}
    for check in checks_for(acts=analysis.acts, is_test=analysis.is_test):
        for each in check(analysis):
            if not analysis.is_test or each.code in FAILS_ANYHOW:
                alone = frozenset() if is_local(check) or analysis.is_test else _alone(each, analysis)
                found.setdefault((each.code, each.location), Finding(each, alone, _kept_as(each, analysis)))
    # Whom a file calls excuses what is found there only if it was asked itself what it makes of it.
    mute = analysis.is_test or not analysis.acts
    followed = frozenset() if mute else _followed(analysis)
    waiting = frozenset() if mute else frozenset(_waiting(analysis, filename))
    asked = frozenset() if mute else frozenset({*_stepped_of_unknown(analysis), *_set(analysis)})
    answers = analysis.project.sights.answers
    analysis.release()
    return Understanding(tuple(found.values()), followed, answers, waiting, analysis.acts, asked)


def _waiting(analysis: Analysis, filename: str) -> Iterator[Callee]:
    """Yield what other files may set in motion in this one: functions that train or load a model, and their classes."""
    folder, name = os.path.split(os.path.abspath(filename))
    stem, home = os.path.splitext(name)[0], os.path.basename(folder)
    homes = (home,) if stem == "__init__" else (stem, home)
    owners: dict[ast.AST, str] = {method: cls.name for cls in analysis.nodes(ast.ClassDef) for method in cls.body}
    for root in analysis.roots:
        if not isinstance(root.node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        # A backward pass of its own name is torch's, or stands in for it.
        telling = {EventKind.STEP} if root.node.name == "backward" else {EventKind.STEP, EventKind.BACKWARD}
        trains = any(event.kind in telling for event in analysis.events[root])
        if trains or "load_state_dict" in analysis.lowering.syntax.called(root.node):
            yield Callee(owners.get(root.node, root.node.name), homes)


def _kept_as(found: Diagnostic, analysis: Analysis) -> str:
    """Return the attribute by which others may step what nobody steps here, or may set a flag ("": there is none)."""
    if found.code != "GL202":
        return analysis.kept(Excuses).of.get(found.location, "")
    lowering = analysis.lowering
    made = {
        each.uid for each in lowering.objects.values() if each.place == found.location and each.uid in lowering.kept
    }
    return next(chain(_held_as(made, analysis), (uid[-1] for uid in made)), "")


def _held_as(made: set[Uid], analysis: Analysis) -> Iterator[str]:
    """Yield the attributes by which instances hold any of some objects."""
    lowering = analysis.lowering
    for uid, names in lowering.members.items() if made else ():
        held = ((name, lowering.store.get((uid, name))) for name in sorted(names))
        yield from (name for name, value in held if isinstance(value, Object) and value.uid in made)


def _stepped_of_unknown(analysis: Analysis) -> Iterator[str]:
    """Yield the attributes of owners that nobody knows which this file steps, by a name for one, too."""
    stepped = set[str]()
    callees = (call.func for call in analysis.nodes(ast.Call))
    for step in (each for each in callees if isinstance(each, ast.Attribute) and each.attr == "step"):
        match step.value:
            case ast.Attribute(owner, name) if isinstance(analysis.value(owner), Unknown):
                yield name
            case ast.Name(name):
                stepped.add(name)
            case _:
                continue
    for assignment in analysis.nodes(ast.Assign) if stepped else ():
        target, *others = assignment.targets
        if isinstance(target, ast.Name) and target.id in stepped and not others:
            yield from _of_unknown(assignment.value, analysis)


def _of_unknown(value: ast.expr, analysis: Analysis) -> Iterator[str]:
    """Yield the attributes of owners that nobody knows which an expression may be."""
    match value:
        case ast.IfExp(_, body, orelse):
            yield from _of_unknown(body, analysis)
            yield from _of_unknown(orelse, analysis)
        case ast.Attribute(owner, name) if isinstance(analysis.value(owner), Unknown):
            yield name
        case _:
            return


def _set(analysis: Analysis) -> Iterator[str]:
    """Yield that this file sets attributes of others, or makes some on the CPU."""
    yield from map(setting, set_by_others(analysis.tree))
    if analysis.says("cpu"):
        yield from map(on_cpu, made_on_cpu(analysis.nodes(ast.Call)))


def _alone(found: Diagnostic, analysis: Analysis) -> frozenset[Spot]:
    if found.code in _CALLERS_EXCUSE_NOTHING:
        return frozenset()
    around = [root for root in analysis.roots if any(_encloses(node, found, analysis) for node in root.followed)]
    if any(root.complete for root in around):
        return frozenset()
    return frozenset(_spot(root.node, analysis) for root in around)


def _encloses(function: ast.AST, found: Diagnostic, analysis: Analysis) -> bool:
    place = analysis.source.place(function)
    return place.filename == found.location.filename and place.row <= found.location.row <= place.end_row


def _followed(analysis: Analysis) -> frozenset[Spot]:
    # What drives a class from its base is read as if nobody called it: it is no caller of itself.
    nodes = {node for root in analysis.roots for node in root.followed if node is not root.node}
    return frozenset(_spot(node, analysis) for node in nodes if node in analysis.lowering.foreign)


def _spot(function: ast.AST, analysis: Analysis) -> Spot:
    place = analysis.source.place(function)
    return os.path.abspath(place.filename), place.row, getattr(function, "name", "")
