"""Which modules behave differently in training and in evaluation mode, as far as their source is in sight.

It knows torch's layers and classes of the file; it must not know events or rules.
"""

from __future__ import annotations

import ast
import builtins
import enum
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from gradlint.diagnostics import Location
from gradlint.static.analysis import Analysis
from gradlint.static.facts.names import Names
from gradlint.static.flow.tree import Uid
from gradlint.static.lowering.values import (
    Class,
    Const,
    Function,
    Instance,
    Library,
    Object,
    Unknown,
    Value,
)
from gradlint.static.sources.library import role_of, words
from gradlint.static.syntax.asides import asides, unread
from gradlint.static.syntax.layers import (
    DROPS,
    bare,
    choices,
    drops,
    in_one_mode,
    is_given,
    is_named,
    is_of_one_layer,
    is_off,
    rates_left_out,
    under_conditions,
)
from gradlint.static.syntax.nodes import asks_for, walk
from gradlint.static.syntax.nodes import words as words_in
from gradlint.static.syntax.questions import FunctionNode
from gradlint.static.syntax.switches import on_request

_LAYERS = re.compile(
    r"torch\.nn\.(?:modules\.\w+\.)?"
    r"(?:\w*Dropout\w*|BatchNorm\w+|LazyBatchNorm\w+|SyncBatchNorm|RReLU|Transformer\w*)|torchvision\.models\.\w.*|"
    r"timm\.create_model|timm\.models\.create_model"
)
_FUNCTIONS = re.compile(r"torch\.nn\.functional\.(?:\w*dropout\w*|batch_norm|rrelu)")
_STACKS = re.compile(r"torch\.nn\.(?:modules\.\w+\.)?Transformer(?:En|De)coder")
"""What runs copies of a layer that it is given drops where that does."""
_RECURRENT = re.compile(r"torch\.nn\.(?:modules\.\w+\.)?(?:RNN|LSTM|GRU)")
_BY_ARGUMENT = re.compile(rf"{_RECURRENT.pattern}|torch\.nn\.(?:modules\.\w+\.)?MultiheadAttention")
_CLASS = re.compile(r"[A-Z]\w*")
OF_ONE_BATCH = "batch_norm of one batch"
"""What is known as a layer whose running statistics are those of the last batch: nobody means to evaluate with them."""
_RATES = frozenset(["p", "dropout"])
"""What torch's layers call the rate of their dropout."""
_PUTS = frozenset(["append", "extend", "insert"])
"""Methods by which a list gets elements."""


class Sensitivity(enum.Enum):
    """Whether a module's mode matters."""

    YES = "yes"
    NO = "no"
    UNSEEN = "unseen"


class Makers:
    """Where the modules of one file are made, and whether their mode matters."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._names = Names(analysis)
        self._busy: set[ast.AST] = set()
        self._on_request: set[ast.AST] = set()
        self._aside: frozenset[ast.AST] = frozenset()
        self._idle: dict[tuple[ast.ClassDef, ...], frozenset[ast.AST]] = {}
        self._without_dropout = self._with_dropout = False
        self._rates: frozenset[str] = frozenset()
        self._met: set[str] = set()

    def layers(self, module: Uid) -> frozenset[str]:
        """Return what is called, or asked for, in the sources of a module and behaves as its mode says."""
        self._met = set()
        self.sensitivity(module)
        return frozenset(self._met)

    def in_training_mode(self, module: Uid) -> bool:
        """Whether a module, or what it is a part of, begins in training mode: a constructor made it."""
        return any(self._constructed(module[:length]) for length in range(1, len(module) + 1))

    def is_saved(self, module: Uid) -> bool:
        """Whether a module was saved as a whole and loaded: it has the mode that it had then."""
        made = self._analysis.lowering.objects.get(module)
        return made is not None and role_of(made.origin) == "saved"

    def _constructed(self, module: Uid) -> bool:
        lowering = self._analysis.lowering
        made = lowering.objects.get(module)
        return (
            module in lowering.instances
            or (made is not None and bool(made.origin) and not self.is_saved(module))
            or self._maker(module) is not None
        )

    def sensitivity(self, module: Uid) -> Sensitivity:
        """Return whether the mode of a module matters."""
        lowering = self._analysis.lowering
        if module in lowering.instances:
            calls = self._calls_of(module)
            self._without_dropout = bool(calls) and all(any(map(is_off, call.keywords)) for call in calls)
            self._with_dropout = bool(calls) and all(map(drops, calls))
            found = self._class(lowering.instances[module], *calls)
            self._without_dropout = self._with_dropout = False
            return found
        if self.is_saved(module):
            # Its class must be importable: it is taken for what the file trains, else for any module that it imports.
            classes = [self._class(cls) for cls in self._trained() or self._classes()]
            return _most(classes) if classes else Sensitivity.UNSEEN
        made = lowering.objects.get(module)
        node = self._maker(module) if made is None else self._call_at(made.place)
        if node is None:
            original = self._original(module)
            return self.sensitivity(original) if original is not None else self._declared(module)
        parts = (self._expression(each, lowering.module.path) for each in self._put_in(node))
        return _most([self._expression(node, lowering.module.path), *parts])

    def _put_in(self, container: ast.Call) -> Iterator[ast.expr]:
        """Yield what the names stand for that a module is built of: what its function assigns to them, and puts in there."""
        names = {node.id for arg in container.args for node in walk(arg) if isinstance(node, ast.Name)}
        around = [
            each for each in self._analysis.functions if each.lineno <= container.lineno <= (each.end_lineno or 0)
        ]
        scope = max(around, key=lambda each: each.lineno, default=self._analysis.tree)
        for statement in walk(scope) if names else ():
            match statement:
                case ast.Assign([ast.Name(name)], value) | ast.AugAssign(ast.Name(name), _, value) if name in names:
                    yield value
                case ast.Call(ast.Attribute(ast.Name(name), method), [*_, value]) if name in names and method in _PUTS:
                    yield value

    def _calls_of(self, module: Uid) -> list[ast.Call]:
        """Return the calls that make whatever gets the module's name; none if something else gets it, too."""
        name = module[-1].rpartition("/")[2]
        made = [bare(value) for (target, _), value in self._names.assignments.items() if target == name]
        # What is made of what had the name before is the same model, moved or wrapped.
        made = [each for each in made if each is None or name not in words_in(each)]
        made = [each for each in made if not isinstance(each, ast.Constant)]
        calls = [each for each in made if isinstance(each, ast.Call)]
        return calls if len(calls) == len(made) else []

    def _call_at(self, place: Location) -> ast.Call | None:
        """Return the innermost call that begins at a place."""
        calls, source = self._analysis.calls_in(place.row), self._analysis.source
        return next((node for node in reversed(calls) if source.place(node).column == place.column), None)

    def in_sight(self) -> Sensitivity:
        """Return whether the mode matters to any module that the file makes or has a name for; unseen if there is none."""
        lowering = self._analysis.lowering
        if self._expression(self._analysis.tree, lowering.module.path) is Sensitivity.YES:
            return Sensitivity.YES
        found = [self._class(cls) for cls in self._classes()]
        return _most(found) if found else Sensitivity.UNSEEN

    def _trained(self) -> list[Class]:
        instances = self._analysis.lowering.instances
        return [instances[uid] for uid in self._analysis.trained_by if uid in instances]

    def _classes(self) -> Iterator[Class]:
        """Yield the classes of modules that the file has a name for, or defines."""
        lowering = self._analysis.lowering
        named = (lowering.settled((lowering.module.path, name)) for name in lowering.module.module.contents.bindings)
        defined = (Class(node, lowering.module.path) for node in self._analysis.nodes(ast.ClassDef))
        for cls in dict.fromkeys([*(each for each in named if isinstance(each, Class)), *defined]):
            if lowering.is_module(cls):
                yield cls

    def pretrained(self, module: Uid) -> Location | None:
        """Return where a library returned an unknown module in evaluation mode, as a `from_pretrained` of Transformers does."""
        made = self._names.given(module)
        return (
            self._analysis.source.place(made)
            if made and self._package(made) in words("pretrained", "evaluating")
            else None
        )

    def drops_as_returned(self, module: Uid) -> bool:
        """Whether a library that has dropout in most of its models returned an unknown module."""
        made = self._names.given(module)
        return made is not None and self._package(made) in words("pretrained", "dropping")

    def _package(self, made: ast.expr) -> str:
        """Return the package whose `from_pretrained` makes something ("": none does)."""
        match made:
            case ast.Call(ast.Attribute(attr="from_pretrained") as callee):
                known = self._analysis.value(callee)
                return known.name.split(".")[0] if isinstance(known, Library) else ""
            case _:
                return ""

    def is_pretrained(self, module: Uid) -> bool:
        """Whether an unknown module is what some `from_pretrained` returned, in whichever mode."""
        match self._names.given(module):
            case ast.Call(ast.Attribute(attr="from_pretrained")):
                return True
            case _:
                return False

    def _maker(self, module: Uid) -> ast.Call | None:
        """Return the call of another package's class that made an unknown module, if its name tells that it was one."""
        made = self._names.given(module)
        match made:
            case ast.Call(ast.Name(name) | ast.Attribute(attr=name) as callee) if _CLASS.match(name):
                known = self._analysis.value(callee)
                # A wrapper has no layers of its own.
                return made if isinstance(known, Library) and role_of(known.name) != "wrapper" else None
            case _:
                return None

    def _declared(self, module: Uid) -> Sensitivity:
        """Return whether the mode matters to what a parameter is declared to be, and to each class of that kind in sight."""
        lowering = self._analysis.lowering
        cls = lowering.annotations.get("/".join(self._names.first(module)[1:]))
        if cls is None or not any(
            isinstance(each, ast.FunctionDef) and each.name == "forward" for each in cls.node.body
        ):
            return Sensitivity.UNSEEN
        kinds = [
            cls,
            *(each for each in self._classes() if any(base.node is cls.node for base in lowering.lineage(each))),
        ]
        insensitive = all(self._class(each) is Sensitivity.NO for each in kinds)
        return Sensitivity.NO if insensitive else Sensitivity.UNSEEN

    def _original(self, module: Uid) -> Uid | None:
        """Return of which known module an unknown one is a copy."""
        made = self._names.given(module)
        callee = self._analysis.value(made.func) if isinstance(made, ast.Call) and made.args else None
        if not isinstance(made, ast.Call) or not isinstance(callee, Library) or role_of(callee.name) != "copy":
            return None
        copied = self._analysis.value(made.args[0])
        return copied.uid if isinstance(copied, (Instance, Object)) else None

    def _class(self, cls: Class, *calls: ast.Call) -> Sensitivity:
        """Return whether the mode of a class matters, made by such calls."""
        lineage = list(self._analysis.lowering.lineage(cls))
        makers = (node for each in lineage for node in each.node.body if getattr(node, "name", "") == "__init__")
        with self._left_out(next(makers, None), calls):
            return self._lineage(cls, lineage)

    def _lineage(self, cls: Class, lineage: list[Class]) -> Sensitivity:
        lowering = self._analysis.lowering
        self._on_request |= {made for ancestor in lineage for made in on_request(ancestor.node)}
        if lowering.is_open(cls):
            return _most([*(self._expression(each.node, each.frame) for each in lineage), Sensitivity.UNSEEN])
        outer, self._aside = self._aside, self._aside | self._never_run(tuple(each.node for each in lineage))
        found = _most(self._expression(each.node, each.frame) for each in lineage)
        self._aside = outer
        return found

    @contextmanager
    def _left_out(self, made: ast.AST | None, calls: Sequence[ast.Call]) -> Iterator[None]:
        """Read with the rates of dropout that all of some calls leave out: they are none."""
        outer = self._rates
        known = isinstance(made, FunctionNode) and bool(calls)
        rates = [rates_left_out(made, call, outer) for call in calls] if known else [frozenset[str]()]  # type: ignore[arg-type]
        self._rates = frozenset.intersection(*rates)
        try:
            yield
        finally:
            self._rates = outer

    def _never_run(self, lineage: tuple[ast.ClassDef, ...]) -> frozenset[ast.AST]:
        """Return the layers of a class that nobody reads, and its methods that ask for the mode, perhaps, but that nobody reaches."""
        if lineage not in self._idle:
            modules = {id(each): each for each in (frame.module for frame in self._analysis.lowering.frames.values())}
            trees = [each.contents.tree for each in modules.values()]
            asking = any(asks_for(cls, "training") for cls in lineage)
            self._idle[lineage] = unread(lineage, trees) | (asides(lineage, trees) if asking else frozenset())
        return self._idle[lineage]

    def _expression(self, node: ast.AST, frame: Uid) -> Sensitivity:
        if node in self._busy:
            return Sensitivity.NO
        self._busy.add(node)
        found = _most(self._parts(node, frame))
        self._busy.discard(node)
        return found

    def _parts(self, node: ast.AST, frame: Uid) -> Iterator[Sensitivity]:
        for part, perhaps in under_conditions(node, self._aside):
            match part:
                case ast.Attribute(ast.Name("self"), "training", ast.Load()):
                    known, found = [], Sensitivity.YES
                case ast.Call(callee) if part not in self._on_request:
                    known = [self._value(each, frame) for each in choices(node, callee)]
                    found = _most(self._call(part, each, frame) for each in known)
                case _:
                    continue
            # A layer that only some arguments bring may not be there, but for dropout where its rate is given.
            asked = self._with_dropout and isinstance(part, ast.Call) and bool(DROPS.search(ast.unparse(part.func)))
            found = Sensitivity.UNSEEN if perhaps and found is Sensitivity.YES and not asked else found
            if found is Sensitivity.YES:
                self._met |= _labels(part, known)
            yield found

    def _value(self, node: ast.expr, frame: Uid) -> Value:
        known = self._analysis.lowering.values.get(node)
        return self._analysis.lowering.seen_from(frame, node) if known is None else known

    def _call(self, node: ast.Call, callee: Value, frame: Uid) -> Sensitivity:
        match callee:
            case Class():
                return self._class(callee, node)
            case Function(node=body, frame=frame):
                with self._left_out(body, [node]):
                    return self._expression(body, frame)
            case Library(name) if _STACKS.fullmatch(name) or (_FUNCTIONS.fullmatch(name) and in_one_mode(node)):
                return Sensitivity.NO
            case Library(name) if _LAYERS.fullmatch(name) or _FUNCTIONS.fullmatch(name):
                alike = self._off(node, frame) or is_given(node, "track_running_stats", False)
                return Sensitivity.NO if alike else Sensitivity.YES
            case Library(name) if name in words("pretrained", "always"):
                return Sensitivity.YES
            case Library(name) if role_of(name) == "unknown" or _BY_ARGUMENT.fullmatch(name):
                unseen = Sensitivity.UNSEEN if role_of(name) == "unknown" else Sensitivity.NO
                off = self._off(node, frame) or (_RECURRENT.fullmatch(name) and is_of_one_layer(node))
                return Sensitivity.YES if drops(node, self._rates) and not off else unseen
            case Unknown() if isinstance(node.func, ast.Name) and not hasattr(builtins, node.func.id):
                return Sensitivity.UNSEEN
            case _:
                return Sensitivity.NO

    def _off(self, node: ast.Call, frame: Uid) -> bool:
        """Whether a layer is given the probability 0, as it is written or as a name for it."""
        given = [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg in _RATES)]
        if self._without_dropout and any(DROPS.search(ast.unparse(each)) for each in given):
            return True
        if any(is_named(each, self._rates) for each in given):
            return True
        return any(self._is_zero(each, frame) for each in given)

    def _is_zero(self, rate: ast.expr, frame: Uid) -> bool:
        known = rate if isinstance(rate, ast.Constant) else self._value(rate, frame)
        return isinstance(known, (ast.Constant, Const)) and known.value == 0


def _labels(part: ast.AST, known: Iterable[Value]) -> set[str]:
    """Return as what it is known that behaves as the mode says; of what is read, too, its parts tell it."""
    if not isinstance(part, ast.Call):
        return {ast.unparse(part)}
    if is_given(part, "momentum", 1):
        return {OF_ONE_BATCH}
    return {"dropout" if drops(part) else each.name for each in known if isinstance(each, Library)}


def _most(found: Iterable[Sensitivity]) -> Sensitivity:
    answers = set(found)
    return next(
        each for each in (Sensitivity.YES, Sensitivity.UNSEEN, Sensitivity.NO) if each in answers | {Sensitivity.NO}
    )
