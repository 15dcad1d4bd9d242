"""Abstract values: what lowering knows about who a name is.

Identity comes from constructors, imports and annotations, never from a name. What is not known
is `Unknown`, and `Unknown` is silent. What values are made of, and what two of them are together, is told in `algebra`.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import field
from typing import TypeAlias

from gradlint.data import Enum, dataclass
from gradlint.diagnostics import Location
from gradlint.static.flow.tree import GraphNode, Uid


class Kind(Enum):
    """The roles that an object of a known library can have in a training loop."""

    OPTIMIZER = "optimizer"
    SCHEDULER = "scheduler"
    SCALER = "scaler"
    MODULE = "module"
    CRITERION = "criterion"
    ENGINE = "engine"
    SAMPLER = "sampler"
    LOADER = "loader"


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody knows what it is; equal ids are equal values; it may act on whatever it `holds`."""

    id: str = ""
    holds: frozenset[Uid] = frozenset()


@dataclass(frozen=True, slots=True)
class Const:
    """A literal."""

    value: object


@dataclass(frozen=True, slots=True)
class Library:
    """A module, class or function of another package, by its full dotted name."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Construction:
    """One call that makes an object, with what its arguments were there, the function in which it stands, and the calls of that."""

    node: ast.Call
    args: tuple[Value, ...]
    named: Mapping[str, Value]
    scope: ast.AST | None = None
    callers: tuple[tuple[ast.AST | None, ast.AST], ...] = ()

    def argument(self, position: int, name: str) -> Value | None:
        """Return the argument `name`; None only where it is certainly left out."""
        spread = any(isinstance(value, Unknown) and value.id == "*" for value in (*self.args, *self.named.values()))
        if name in self.named:
            return self.named[name]
        if spread:
            return UNKNOWN
        return self.args[position] if position < len(self.args) else None

    def expression(self, position: int, name: str) -> ast.expr | None:
        """Return the argument `name` as it is written, if it is."""
        written = next((keyword.value for keyword in self.node.keywords if keyword.arg == name), None)
        if written is not None or any(isinstance(arg, ast.Starred) for arg in self.node.args):
            return written
        return self.node.args[position] if position < len(self.node.args) else None


@dataclass(frozen=True, slots=True)
class Imported:
    """A name of a file in sight that nobody has asked for yet, and so nobody has read; only the store of names holds it."""

    name: str


@dataclass(frozen=True, slots=True)
class Object:
    """An object of a known library.

    `of` says whom it acts on: an optimizer on modules, a scheduler on its optimizer, a loader on its sampler; None where
    that is not known. `calls` are the constructor calls that may have made it.
    """

    kind: Kind
    uid: Uid
    origin: str
    place: Location = field(compare=False)
    of: frozenset[Uid] | None = None
    calls: tuple[Construction, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Function:
    """A function of this file, the frame that it was defined in, and what is bound to it already.

    `untracked` is one that a context such as `no_grad` was called on: it runs with gradients off.
    """

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    frame: Uid
    receiver: Value | None = None
    args: tuple[Value, ...] = ()
    untracked: bool = False


@dataclass(frozen=True, slots=True)
class Class:
    """A class of this file."""

    node: ast.ClassDef
    frame: Uid


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several functions, or of several classes of modules; which one may be another where `id` was made anew."""

    functions: tuple[Function | Class, ...]
    id: str = ""


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance of a class of this file; its attributes are kept under its uid."""

    cls: Class
    uid: Uid


@dataclass(frozen=True, slots=True)
class Super:
    """`super()` of an instance inside a class."""

    cls: Class
    instance: Instance


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a known or unknown receiver, not called yet."""

    receiver: Value
    name: str


@dataclass(frozen=True, slots=True)
class Items:
    """A tuple, list or dict whose elements are known; `keys` only for a dict."""

    elements: tuple[Value, ...]
    keys: tuple[object, ...] | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """What a tensor certainly came out of last: a word of the models (`softmax`, `loss`, ...) and where."""

    op: str
    place: Location | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Dropped:
    """A graph that was certainly lost: by which means (`no-grad`, `item`, ...), where, and what it ran through."""

    means: str
    place: Location
    nodes: frozenset[GraphNode]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor that certainly carries the graph parts `nodes` (none: it carries no graph that we saw).

    `scalers` are the gradient scalers that have multiplied it; `sure` is false where one of them perhaps has not.
    `made` says what it came out of; `cut` where it certainly lost the graph that it might have had;
    `dropped` the graphs that it, or a term of the sum that it is, had and has lost; `leaves` which tensors that require
    gradients it is one of.
    """

    nodes: frozenset[GraphNode] = frozenset()
    scalers: frozenset[Uid] = frozenset()
    sure: bool = True
    made: Made | None = None
    cut: Location | None = None
    dropped: frozenset[Dropped] = frozenset()
    leaves: frozenset[Uid] = frozenset()


@dataclass(frozen=True, slots=True)
class Gathered:
    """A list of nobody knows how many tensors, which together are like one: what joins or sums them carries all that it does."""

    whole: Tensor


@dataclass(frozen=True, slots=True)
class Params:
    """Parameters of the given modules (None: of somebody unknown)."""

    of: frozenset[Uid] | None


@dataclass(frozen=True, slots=True)
class Rows:
    """A list of nobody knows how many rows that are like one, as `zip` makes of parameters of two modules."""

    each: Items


Value: TypeAlias = (
    Unknown
    | Const
    | Library
    | Imported
    | Object
    | Function
    | Choice
    | Class
    | Instance
    | Super
    | Method
    | Items
    | Gathered
    | Tensor
    | Params
    | Rows
)

LOADER = Library("torch.utils.data.DataLoader()")
"""A data loader: what it yields is data."""

OPTIMIZERS = frozenset(["torch.optim.Optimizer", "torch.optim.optimizer.Optimizer"])
"""What every optimizer of torch is."""

ANY_OPTIMIZER = Library("torch.optim.*")
"""A class of optimizers, nobody knows which."""

ANY_SCHEDULER = Library("torch.optim.lr_scheduler.*")
"""A class of schedulers, nobody knows which."""


def is_loader(value: Value | None) -> bool:
    """Whether a value is a data loader."""
    return value == LOADER or (isinstance(value, Object) and value.kind is Kind.LOADER)


def const(value: Value) -> object:
    """Return the literal of a constant, else Ellipsis."""
    return value.value if isinstance(value, Const) else ...


UNKNOWN = Unknown()
NONE = Const(None)
DATA = Tensor(made=Made("data"))
"""A tensor that certainly carries no graph and does not require gradients."""


def unknown_uid(id_: str) -> Uid:
    """Return who an unknown value is: its attributes are parts of it."""
    return ("?", *id_.split("."))
