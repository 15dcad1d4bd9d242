"""Which modules behave differently in training and in evaluation mode, as far as their source is in sight.

It knows torch's layers and classes of the file; it must not know events or rules.
"""

from __future__ import annotations

import ast
import builtins
import enum
import re
from collections.abc import Iterable, Iterator
from functools import cached_property

from gradlint.diagnostics import Location
from gradlint.static.analysis import Analysis
from gradlint.static.instances import SAME
from gradlint.static.library import role_of, words
from gradlint.static.nodes import children, walk
from gradlint.static.tree import Uid
from gradlint.static.values import Class, Function, Library, Unknown, Value

_LAYERS = re.compile(
    r"torch\.nn\.(?:modules\.\w+\.)?"
    r"(?:\w*Dropout\w*|BatchNorm\w+|LazyBatchNorm\w+|SyncBatchNorm|RReLU|Transformer\w*)|torchvision\.models\.\w.*|"
    r"timm\.create_model|timm\.models\.create_model"
)
_FUNCTIONS = re.compile(r"torch\.nn\.functional\.(?:\w*dropout\w*|batch_norm|rrelu)")
_BY_ARGUMENT = re.compile(r"torch\.nn\.(?:modules\.\w+\.)?(?:RNN|LSTM|GRU|MultiheadAttention)")
_DROPS = re.compile(r"drop", re.IGNORECASE)
_ASSIGNED_AT = re.compile(r"(?P<name>\w+)@(?P<row>\d+)")
_CLASS = re.compile(r"[A-Z]\w*")


class Sensitivity(enum.Enum):
    """Whether a module's mode matters."""

    YES = "yes"
    NO = "no"
    UNSEEN = "unseen"


class Makers:
    """Where the modules of one file are made, and whether their mode matters."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._busy: set[ast.AST] = set()

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
            return self._class(lowering.instances[module])
        if self.is_saved(module):
            # Its class must be importable; where the file imports any module, it is taken for that one.
            found = [self._class(cls) for cls in self._classes()]
            return _most(found) if found else Sensitivity.UNSEEN
        made = lowering.objects.get(module)
        node = self._maker(module) if made is None else self._call_at(made.place)
        if node is None:
            return Sensitivity.UNSEEN
        scope = made.calls[0].scope if made is not None and made.calls else None
        parts = [node, *(_collected(node, scope) if scope is not None else ())]
        return _most(self._expression(part, lowering.module.path) for part in parts)

    def _call_at(self, place: Location) -> ast.Call | None:
        """Return the innermost call that begins at a place."""
        calls, source = self._analysis.calls_in(place.row), self._analysis.source
        return next((node for node in reversed(calls) if source.place(node).column == place.column), None)

    def _classes(self) -> Iterator[Class]:
        """Yield the classes of modules that the file has a name for."""
        lowering = self._analysis.lowering
        for name in lowering.module.module.contents.bindings:
            value = lowering.settled((lowering.module.path, name))
            if isinstance(value, Class) and lowering.is_module(value):
                yield value

    @cached_property
    def _assignments(self) -> dict[tuple[str, int], ast.expr]:
        return {
            (target.id if isinstance(target, ast.Name) else target.attr, node.lineno): node.value
            for node in self._analysis.nodes(ast.Assign)
            for target in node.targets
            if isinstance(target, (ast.Name, ast.Attribute))
        }

    def pretrained(self, module: Uid) -> Location | None:
        """Return where a library returned an unknown module in evaluation mode, as a `from_pretrained` of Transformers does."""
        made = self._written(module)
        match made:
            case ast.Call(ast.Attribute(attr="from_pretrained") as callee):
                known = self._analysis.value(callee)
                evaluating = isinstance(known, Library) and known.name.split(".")[0] in words(
                    "pretrained", "evaluating"
                )
                return self._analysis.source.place(made) if evaluating else None
            case _:
                return None

    def is_pretrained(self, module: Uid) -> bool:
        """Whether an unknown module is what some `from_pretrained` returned, in whichever mode."""
        match self._written(module):
            case ast.Call(ast.Attribute(attr="from_pretrained")):
                return True
            case _:
                return False

    def _maker(self, module: Uid) -> ast.Call | None:
        """Return the call of another package's class that made an unknown module, if its name tells that it was one."""
        made = self._written(module)
        match made:
            case ast.Call(ast.Name(name) | ast.Attribute(attr=name) as callee) if _CLASS.match(name):
                known = self._analysis.value(callee)
                # A wrapper has no layers of its own.
                return made if isinstance(known, Library) and role_of(known.name) != "wrapper" else None
            case _:
                return None

    def _written(self, module: Uid) -> ast.expr | None:
        """Return what the name of an unknown module was given, without the methods that return the module itself."""
        told = _ASSIGNED_AT.fullmatch(module[-1].rpartition("/")[2]) if module[0] == "?" else None
        made = self._assignments.get((told["name"], int(told["row"]))) if told else None
        while isinstance(made, ast.Call) and isinstance(made.func, ast.Attribute) and made.func.attr in SAME:
            made = made.func.value
        return made

    def _class(self, cls: Class) -> Sensitivity:
        lowering = self._analysis.lowering
        found = [self._expression(ancestor.node, ancestor.frame) for ancestor in lowering.lineage(cls)]
        return _most([*found, Sensitivity.UNSEEN] if lowering.is_open(cls) else found)

    def _expression(self, node: ast.AST, frame: Uid) -> Sensitivity:
        if node in self._busy:
            return Sensitivity.NO
        self._busy.add(node)
        found = _most(self._parts(node, frame))
        self._busy.discard(node)
        return found

    def _parts(self, node: ast.AST, frame: Uid) -> Iterator[Sensitivity]:
        for part, perhaps in _walk(node):
            match part:
                case ast.Attribute(ast.Name("self"), "training"):
                    found = Sensitivity.YES
                case ast.Call(callee):
                    found = self._call(part, self._value(callee, frame))
                case _:
                    continue
            # A layer that only some arguments bring may not be there.
            yield Sensitivity.UNSEEN if perhaps and found is Sensitivity.YES else found

    def _value(self, node: ast.expr, frame: Uid) -> Value:
        known = self._analysis.lowering.values.get(node)
        return self._analysis.lowering.seen_from(frame, node) if known is None else known

    def _call(self, node: ast.Call, callee: Value) -> Sensitivity:
        match callee:
            case Class():
                return self._class(callee)
            case Function(node=body, frame=frame):
                return self._expression(body, frame)
            case Library(name) if _LAYERS.fullmatch(name) or _FUNCTIONS.fullmatch(name):
                return Sensitivity.NO if _off(node) else Sensitivity.YES
            case Library(name) if role_of(name) == "unknown" or _BY_ARGUMENT.fullmatch(name):
                unseen = Sensitivity.UNSEEN if role_of(name) == "unknown" else Sensitivity.NO
                return Sensitivity.YES if _drops(node) else unseen
            case Unknown() if isinstance(node.func, ast.Name) and not hasattr(builtins, node.func.id):
                return Sensitivity.UNSEEN
            case _:
                return Sensitivity.NO


def _collected(made: ast.Call, scope: ast.AST) -> Iterator[ast.expr]:
    """Yield what a function puts into the lists of which a sequence is made: `nn.Sequential(*layers)`."""
    lists = {arg.value.id for arg in made.args if isinstance(arg, ast.Starred) and isinstance(arg.value, ast.Name)}
    for part in walk(scope) if lists else ():
        match part:
            case ast.Assign([ast.Name(name)], value) | ast.AugAssign(ast.Name(name), _, value) if name in lists:
                yield value
            case ast.Call(ast.Attribute(ast.Name(name), "append" | "extend" | "insert")) if name in lists:
                yield from part.args
            case _:
                continue


def _walk(start: ast.AST) -> Iterator[tuple[ast.AST, bool]]:
    """Yield every node below `start`, and whether it stands under a condition."""
    todo = [(start, False)]
    while todo:
        node, perhaps = todo.pop()
        yield node, perhaps
        branches = isinstance(node, (ast.If, ast.IfExp))
        for child in children(node):
            under = branches and child is not node.test  # type: ignore[attr-defined]
            todo.append((child, perhaps or under))


def _off(node: ast.Call) -> bool:
    """Whether a layer is given the probability 0."""
    given = [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "p")]
    return any(isinstance(value, ast.Constant) and value.value == 0 for value in given)


def _drops(node: ast.Call) -> bool:
    """Whether a call is given a rate of dropout other than 0."""
    return any(
        keyword.arg is not None
        and bool(_DROPS.search(keyword.arg))
        and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)
        for keyword in node.keywords
    )


def _most(found: Iterable[Sensitivity]) -> Sensitivity:
    answers = set(found)
    return next(
        each for each in (Sensitivity.YES, Sensitivity.UNSEEN, Sensitivity.NO) if each in answers | {Sensitivity.NO}
    )
