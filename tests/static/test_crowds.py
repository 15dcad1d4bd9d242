"""What a subject of many is given to follow: all that means something to it, in order."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from itertools import product
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import programs_as_trees
from test_flow_properties import PROPERTY, TABLES, Table, interpreted_for, states

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.static.flow import crowds
from gradlint.static.flow.crowds import Crowd
from gradlint.static.flow.kinship import overlap, touches
from gradlint.static.flow.subjects import of_optimizers, on_optimizer
from gradlint.static.flow.trained import of_graphs, on_graph, on_saved
from gradlint.static.flow.tree import Effect, Event, GraphNode, Node, Uid, rebuilt
from gradlint.static.lowering.values import Kind, Object

PLACE = Location("t.py", 1)
NET, PART, OTHER, GIVEN = ("m",), ("m", "part"), ("n",), ("?", "net")
OWNED = {("a",): frozenset({NET}), ("b",): frozenset({PART}), ("c",): frozenset({OTHER}), ("d",): None}
OPTIMIZERS = {uid: Object(Kind.OPTIMIZER, uid, "torch.optim.SGD", PLACE, of) for uid, of in OWNED.items()}
TARGETS = [None, frozenset[Uid]()] + [
    frozenset(uids) for uids in [[NET], [PART], [OTHER], [GIVEN], *([uid] for uid in OWNED), [("a",), ("c",)], [("z",)]]
]
PARTS = [GraphNode(PLACE, NET), GraphNode(PLACE, PART), GraphNode(PLACE, OTHER), GraphNode(PLACE, OTHER, 1)]


def aimed(node: Node) -> Node:
    """Return a tree whose events happen to somebody else in each row."""
    if isinstance(node, Event):
        return replace(node, targets=TARGETS[node.place.row])
    return rebuilt(node, aimed)


@PROPERTY
@given(programs_as_trees(), st.sampled_from([NET, PART, OTHER, GIVEN]), TABLES)
def test_what_is_near_a_subject_is_all_that_happens_to_it(tree: Node, subject: Uid, table: Table) -> None:
    tree = aimed(tree)
    effect: Effect = lambda event: event.kind if touches(event, (subject,)) else None
    with patch.object(crowds, "MANY", 0):
        near = Crowd(tree).near((subject,), lambda event: event.targets)
    whole, part = interpreted_for(tree, effect, table), interpreted_for(near, effect, table)
    before, after = states(whole.arrivals), states(part.arrivals)
    assert {event: before[event] for event in before if effect(event)} == {
        event: after[event] for event in after if effect(event)
    }
    assert whole.ends == part.ends


def concerned(event: Event, whom: Collection[Uid] | None, uids: Collection[Uid]) -> bool:
    return whom is None or any(overlap(a, b) for a in whom for b in uids)


EVENTS = [
    Event(kind, PLACE, targets, nodes=frozenset(nodes), roles=frozenset({role}))
    for kind, targets, nodes, role in product(
        EventKind, TARGETS, ([], PARTS[:1], PARTS[1:2], PARTS[2:]), ("", "module", "handed", "mode", "retain")
    )
]


@pytest.mark.parametrize("optimizer", [each for each in OPTIMIZERS.values() if each.of], ids=lambda each: each.uid[0])
def test_what_means_something_to_an_optimizer_concerns_it(optimizer: Object) -> None:
    effect, whom = on_optimizer(optimizer, OPTIMIZERS), of_optimizers(OPTIMIZERS)
    for event in EVENTS:
        if effect(event) is not None:
            assert concerned(event, whom(event), (optimizer.uid, *(optimizer.of or ()))), event


@pytest.mark.parametrize("node", PARTS, ids=str)
def test_what_means_something_to_a_graph_concerns_it(node: GraphNode) -> None:
    owners = frozenset({("a",)})
    graph, saved = on_graph(node), on_saved(node, owners)
    for event in EVENTS:
        if graph(event) is not None:
            assert concerned(event, of_graphs(event), (node.module,)), event
        if saved(event) is not None:
            assert concerned(event, of_graphs(event), (node.module, *owners)), event
