"""The state of one reading of a file: where it is, who is who, and what it has noted for the checks.

It knows frames, values and notes; it must not know syntax, nor what is done with any of it.
"""

from __future__ import annotations

import ast
import itertools
from collections import Counter, defaultdict
from collections.abc import Hashable

from gradlint.diagnostics import Location
from gradlint.static.flow.tree import Cycle, GraphNode, Node, Predicate, Uid
from gradlint.static.lowering.frames import Decision, Frame, Grad, Pending, Routine, Store
from gradlint.static.lowering.notes import Compared, Descent, Hooked, Keeping, Mirrored, Refused, StateCall, Written
from gradlint.static.lowering.values import Class, Made, Object, Value
from gradlint.static.sources.project import Module
from gradlint.static.syntax.own_steps import Clears


class Where:
    """Where the reading is: the activation, the loops and the modes around it, and the sequence that grows."""

    module: Frame
    """What all began with."""
    frame: Frame
    frames: dict[Uid, Frame]

    def __init__(self) -> None:
        self.store: Store = {}
        self.out: list[Node] = []
        self.dead = False  # what stands here is never reached
        self.deciding: Predicate | None = None  # the condition on which the sides that are joined part
        self.loops: tuple[int, ...] = ()
        self.loop_numbers: dict[tuple[Uid, ast.AST], int] = {}
        self.loop_nodes: dict[int, ast.AST] = {}
        self.pending: list[Pending] = []  # what was known where control left the turns around
        self.grad = Grad.ON
        self.switch: Location | None = None  # the statement that set the mode, where no context has
        self.inference = False
        self.autocast = False
        self.unsynced = False
        self.perhaps = 0  # more than that: what happens here may have been made sure of before
        self.hint = ""  # what is made here is called so
        self.phase = ""  # what a loop over a few words says in its turn
        self.turn = ""  # of a comprehension: what it makes by one expression is another one in each
        self.stack: list[ast.AST] = []  # the functions that are being read
        self.statements = 0
        self.numbers = itertools.count(1)


class Who:
    """Who is who: what was made, by whom it is held, and what is known of unknown values, by their ids."""

    def __init__(self) -> None:
        self.objects: dict[Uid, Object] = {}
        self.born: list[Uid] = []
        self.instances: dict[Uid, Class] = {}
        self.declared: dict[Uid, Class] = {}  # by an annotation
        self.attributes: dict[Uid, set[tuple[Class, str]]] = {}  # of which classes somebody is one
        self.members: dict[Uid, set[str]] = {}
        self.contained: dict[Uid, set[Uid]] = {}
        """Whom an instance has ever had among its attributes: the store forgets it with the function that made it."""
        self.kept: set[Uid] = set()  # in an attribute
        self.escaped: set[Uid] = set()  # to somebody unknown
        self.lent: set[Uid] = set()  # in a collection that a function was given: its callers have them, too
        self.successors: dict[tuple[Uid, Location], Uid] = {}  # who takes the place of a part
        self.frozen: set[Uid] = set()
        self.pretrained: dict[Uid, Location] = {}
        self.restored: dict[Uid, Location] = {}
        self.disabled: set[Uid] = set()  # scalers, by a flag
        self.projections: set[Uid] = set()  # optimizers that step without gradients
        self.own_methods: dict[Uid, frozenset[str]] = {}
        self.own_steps: dict[Uid, frozenset[str]] = {}
        self.own_uses: dict[Uid, dict[str, Clears]] = {}  # of optimizers that clear by themselves, too
        self.hooks: dict[Uid, list[Value]] = {}
        self.outputs: dict[Uid, str] = {}
        self.parallel: set[Uid] = set()
        self.prepared: dict[Uid, Uid] = {}  # whom an accelerator has prepared, and which
        self.windows: set[Uid] = set()  # accelerators by which steps are held back
        self.samplers: dict[Uid, Object] = {}
        self.proven: set[str] = set()  # modules
        self.annotations: dict[str, Class] = {}  # of parameters that no caller in sight gives
        self.module_owners: set[str] = set()
        self.presumed: dict[Uid, frozenset[Uid]] = {}  # whom an optimizer trains, in all likelihood
        self.loaded: set[str] = set()  # by `load_state_dict`
        self.made_here: set[str] = set()  # not given to the code that is read
        self.taken: set[str] = set()  # by a loop, of a collection with objects in sight: none of them is None
        self.alternatives: dict[str, tuple[Value, ...]] = {}  # the modules of which it is one
        self.losses: dict[str, tuple[Value, ...]] = {}  # ... and the losses
        self.decisions: dict[str, Decision] = {}  # which of two modules it is
        self.renewals: Counter[str] = Counter()  # how often it has become another one
        self.cycles: dict[str, Cycle] = {}
        self.initializers: dict[ast.ClassDef, ast.FunctionDef] = {}
        self.records: dict[ast.Call, Class] = {}  # named tuples, by the call that makes the class
        self.known_bases: dict[tuple[ast.ClassDef, Uid], tuple[Value, ...]] = {}
        self.ended: dict[ast.AST, tuple[Made | None, ...]] = {}  # what the `forward` of a class ends in
        self.weighed: dict[ast.AST, int] = {}  # how many results it computes


class Noted:
    """What was seen on the way: checks ask for it, and the reading itself where it comes by again."""

    def __init__(self) -> None:
        self.values: dict[ast.AST, Value] = {}  # of each expression, all readings together
        self.latest: dict[ast.AST, Value] = {}
        self.entered: dict[ast.AST, Value] = {}  # what a context manager of the file yields
        self.foreign: dict[ast.AST, Module] = {}  # what was read of other files
        self.reached: set[ast.AST] = set()  # functions, by anybody
        self.followed: set[ast.AST] = set()  # ... from this root
        self.routines: dict[Hashable, Routine] = {}  # of this root: what calls do again
        self.sought: set[tuple[Uid, str]] = set()  # names that are being looked for
        self.wrapped_by_others: set[ast.AST] = set()  # functions with decorators that nobody knows
        self.counts = False  # whether any condition counts turns
        self.switched: dict[Location, Location] = {}  # where gradients were off, and the statement that did it
        self.bypassed: dict[Location, str] = {}  # forwards past a wrapper
        self.fed: defaultdict[Location, set[GraphNode]] = defaultdict(set)  # which graphs a forward was given
        self.carriers: dict[GraphNode, str] = {}
        self.begun: dict[
            tuple[Uid, str], tuple[tuple[int, ...], Location]
        ] = {}  # sums and lists, where they were empty
        self.keepings: list[Keeping] = []
        self.awaited: dict[int, list[tuple[Value, Keeping]]] = {}  # they count once the value proves to have a graph
        self.descents: list[Descent] = []
        self.refused: list[Refused] = []
        self.compared: list[Compared] = []
        self.written: list[Written] = []
        self.hooked: list[Hooked] = []
        self.states: list[StateCall] = []
        self.mirrored: list[Mirrored] = []


ATTRIBUTES = (*vars(Where()), *Where.__annotations__, *vars(Who()), *vars(Noted()))
"""What whoever has all of it has: too much for Python to share the names of between instances that keep it in a dict."""
