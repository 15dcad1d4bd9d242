"""Layers that behave as the mode says: whether a class, or what an expression makes, has some.

It knows torch's layers and how their rates are given; it must not know who is trained, nor rules.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from gradlint.data import Enum
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.flow.tree import Uid
from gradlint.static.lowering.values import (
    Class,
    Const,
    Function,
    Library,
    Unknown,
    Value,
)
from gradlint.static.sources.library import role_of, words
from gradlint.static.syntax.asides import asides, unread
from gradlint.static.syntax.layers import (
    DROPS,
    choices,
    drops,
    in_one_mode,
    is_given,
    is_named,
    is_of_one_layer,
    is_off,
    left_out,
    of_own_parts,
    under_conditions,
)
from gradlint.static.syntax.nodes import asks_for
from gradlint.static.syntax.questions import FunctionNode
from gradlint.static.syntax.switches import on_request, passed_over, switched_off

_LAYERS = regex(
    r"torch\.nn\.(?:modules\.\w+\.)?"
    r"(?:\w*Dropout\w*|BatchNorm\w+|LazyBatchNorm\w+|SyncBatchNorm|RReLU|Transformer\w*)|torchvision\.models\.\w.*|"
    r"timm\.create_model|timm\.models\.create_model"
)
_FUNCTIONS = regex(r"torch\.nn\.functional\.(?:\w*dropout\w*|batch_norm|rrelu)")
_STACKS = regex(r"torch\.nn\.(?:modules\.\w+\.)?Transformer(?:En|De)coder")
"""What runs copies of a layer that it is given drops where that does."""
_RECURRENT = regex(r"torch\.nn\.(?:modules\.\w+\.)?(?:RNN|LSTM|GRU)")
_BY_ARGUMENT = regex(rf"{_RECURRENT.pattern}|torch\.nn\.(?:modules\.\w+\.)?MultiheadAttention")
OF_ONE_BATCH = "batch_norm of one batch"
"""What is known as a layer whose running statistics are those of the last batch: nobody means to evaluate with them."""
_RATES = frozenset(["p", "dropout"])
"""What torch's layers call the rate of their dropout."""


class Sensitivity(Enum):
    """Whether a module's mode matters."""

    YES = "yes"
    NO = "no"
    UNSEEN = "unseen"


class Layers:
    """Reads classes and expressions for layers; `met` is what was found that behaves as the mode says."""

    def __init__(self, analysis: Analysis) -> None:
        self.met: set[str] = set()
        self._analysis = analysis
        self._busy: set[ast.AST] = set()
        self._on_request: set[ast.AST] = set()
        self._aside: frozenset[ast.AST] = frozenset()
        self._idle: dict[tuple[ast.ClassDef, ...], frozenset[ast.AST]] = {}
        self._without_dropout = self._with_dropout = False
        self._nothing: frozenset[str] = frozenset()

    def of_module(self, cls: Class, calls: Sequence[ast.Call]) -> Sensitivity:
        """Return whether the mode of a module matters, all of whose constructions are in sight, if there are any."""
        self._without_dropout = bool(calls) and all(any(map(is_off, call.keywords)) for call in calls)
        self._with_dropout = bool(calls) and all(map(drops, calls))
        found = self.of_class(cls, *calls)
        self._without_dropout = self._with_dropout = False
        return found

    def of_class(self, cls: Class, *calls: ast.Call) -> Sensitivity:
        """Return whether the mode of a class matters that is made by such calls."""
        lineage = list(self._analysis.lowering.lineage(cls))
        makers = (node for each in lineage for node in each.node.body if getattr(node, "name", "") == "__init__")
        with self._left_out(next(makers, None), calls):
            return self._lineage(cls, lineage)

    def _lineage(self, cls: Class, lineage: list[Class]) -> Sensitivity:
        lowering = self._analysis.lowering
        nodes = [ancestor.node for ancestor in lineage]
        # What runs an element of its own runs what was read where it was made.
        self._on_request |= of_own_parts(nodes).union(*map(on_request, nodes))
        if lowering.is_open(cls):
            return most([*(self.of_expression(each.node, each.frame) for each in lineage), Sensitivity.UNSEEN])
        off = frozenset(made for each in nodes for made in switched_off(each, self._nothing) | passed_over(each))
        never = self._never_run(tuple(nodes))
        outer, self._aside = self._aside, self._aside | never | off
        found = most(self.of_expression(each.node, each.frame) for each in lineage)
        self._aside = outer
        return found

    @contextmanager
    def _left_out(self, made: ast.AST | None, calls: Sequence[ast.Call]) -> Iterator[None]:
        """Read with the arguments that all of some calls leave at nothing: rates of dropout, and flags."""
        outer = self._nothing
        known = isinstance(made, FunctionNode) and bool(calls)
        nothing = [left_out(made, call, outer) for call in calls] if known else [frozenset[str]()]  # type: ignore[arg-type]
        self._nothing = frozenset.intersection(*nothing)
        try:
            yield
        finally:
            self._nothing = outer

    @property
    def _rates(self) -> frozenset[str]:
        """The rates of dropout that are none."""
        return frozenset(name for name in self._nothing if DROPS.search(name))

    def _never_run(self, lineage: tuple[ast.ClassDef, ...]) -> frozenset[ast.AST]:
        """Return the layers of a class that nobody reads, and its methods that ask for the mode, perhaps, but that nobody reaches."""
        if lineage not in self._idle:
            modules = {id(each): each for each in (frame.module for frame in self._analysis.lowering.frames.values())}
            trees = [each.contents.tree for each in modules.values()]
            asking = any(asks_for(cls, "training") for cls in lineage)
            self._idle[lineage] = unread(lineage, trees) | (asides(lineage, trees) if asking else frozenset())
        return self._idle[lineage]

    def is_insensitive(self, made: ast.expr, frame: Uid) -> bool:
        """Whether an expression makes something by a class that is known, and its mode does not matter."""
        known = isinstance(made, ast.Call) and isinstance(self._value(made.func, frame), (Class, Library))
        return known and self.of_expression(made, frame) is Sensitivity.NO

    def of_expression(self, node: ast.AST, frame: Uid) -> Sensitivity:
        """Return whether anything that an expression of an activation makes behaves as the mode says."""
        if node in self._busy:
            return Sensitivity.NO
        self._busy.add(node)
        found = most(self._parts(node, frame))
        self._busy.discard(node)
        return found

    def _parts(self, node: ast.AST, frame: Uid) -> Iterator[Sensitivity]:
        for part, perhaps in under_conditions(node, self._aside):
            match part:
                case ast.Attribute(ast.Name("self"), "training", ast.Load()):
                    known, found = [], Sensitivity.YES
                case ast.Call(callee) if part not in self._on_request:
                    known = [self._value(each, frame) for each in choices(node, callee)]
                    found = most(self._call(part, each, frame) for each in known)
                case _:
                    continue
            # A layer that only some arguments bring may not be there, but for dropout where its rate is given.
            asked = self._with_dropout and isinstance(part, ast.Call) and bool(DROPS.search(ast.unparse(part.func)))
            found = Sensitivity.UNSEEN if perhaps and found is Sensitivity.YES and not asked else found
            if found is Sensitivity.YES:
                self.met |= _labels(part, known)
            yield found

    def _value(self, node: ast.expr, frame: Uid) -> Value:
        known = self._analysis.lowering.values.get(node)
        return self._analysis.lowering.seen_from(frame, node) if known is None else known

    def _call(self, node: ast.Call, callee: Value, frame: Uid) -> Sensitivity:
        match callee:
            case Class():
                return self.of_class(callee, node)
            case Function(node=body, frame=frame):
                with self._left_out(body, [node]):
                    return self.of_expression(body, frame)
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


def most(found: Iterable[Sensitivity]) -> Sensitivity:
    """Return what is so of several together."""
    answers = set(found)
    return next(
        each for each in (Sensitivity.YES, Sensitivity.UNSEEN, Sensitivity.NO) if each in answers | {Sensitivity.NO}
    )
