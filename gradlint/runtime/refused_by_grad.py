"""What `torch.autograd.grad` refuses: to differentiate something by what takes no part in it.

Knows torch's messages by who handles them; must not know which error it was.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from torch import Tensor
from torch.nn import Parameter

from gradlint.runtime.graph import heads, leaf, leaves, named, nodes
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.refusal import Refusal
from gradlint.wordings.graphs import ASK_FIRST, COMPUTE_FROM, LEAVE_OUT, LEFT_ASIDE, THAW_FIRST

_NODES = 20_000
_NAMED = 3


def unused(refusal: Refusal, ledger: Ledger) -> None:
    """Something is differentiated by a tensor that it does not depend on."""
    inputs, outputs = (_tensors(refusal.local("grad", name)) for name in ("t_inputs", "t_outputs"))
    spelled = _spelled(refusal.call)
    loss = f"`{ast.unparse(spelled[0])}`" if spelled else "the loss"
    names = [_name(i, each, spelled[1:], refusal.frame) for i, each in enumerate(inputs)]
    fixed = [name for name, each in zip(names, inputs, strict=True) if not each.requires_grad]
    if fixed:
        frozen = any(isinstance(each, Parameter) for each in inputs if not each.requires_grad)
        what = f"{_listed(fixed)} {'do' if len(fixed) > 1 else 'does'} not require gradients, and {loss} cannot be differentiated by that"
        remedy = LEAVE_OUT if frozen else THAW_FIRST.format(subject=fixed[0].strip("`"))
        ledger.report("GL525", refusal.place, what=what, remedy=remedy)
        return
    reached = {id(each) for each in leaves(outputs, _NODES)} | set(map(id, heads(outputs)))
    strange = [i for i, each in enumerate(inputs) if not _takes_part(each, reached, outputs)]
    if strange:
        _report_strange(refusal, ledger, loss, [names[i] for i in strange], [inputs[i] for i in strange], outputs)


def _report_strange(
    refusal: Refusal, ledger: Ledger, loss: str, names: list[str], strange: Sequence[Tensor], outputs: Sequence[Tensor]
) -> None:
    first, name, source = strange[0], names[0].strip("`"), refusal.source
    assigned = source.assigned(name, refusal.place.row) if source is not None else None
    marks = [("made", source.place(assigned))] if source is not None and assigned is not None else []
    if isinstance(first, Parameter):
        verb = "take" if len(names) > 1 else "takes"
        ledger.report("GL525", refusal.place, what=f"{_listed(names)} {verb} no part in {loss}", remedy=LEFT_ASIDE)
    elif first.grad_fn is not None and _share(first, outputs):
        what = f"{loss} is not computed from {names[0]}, but from what {names[0]} was made of"
        ledger.report(
            "GL525", refusal.place, marks, subject=name, what=what, remedy=COMPUTE_FROM.format(subject=name, loss=loss)
        )
    else:
        what = f"{loss} is not computed from {names[0]}"
        ledger.report("GL525", refusal.place, marks, subject=name, what=what, remedy=ASK_FIRST)


def _takes_part(each: Tensor, reached: set[int], outputs: Sequence[Tensor]) -> bool:
    if each.grad_fn is None:
        return id(each) in reached
    return any(node is each.grad_fn for node in _graph(outputs))


def _graph(outputs: Sequence[Tensor]) -> Iterator[Any]:
    return (node for node, _ in zip(nodes(heads(outputs)), range(_NODES), strict=False))


def _share(one: Tensor, others: Sequence[Tensor]) -> bool:
    """Tell whether a tensor is computed from something that others are computed from as well."""
    mine = {id(leaf(node)) for node in _graph([one])} - {id(None)}
    return any(id(each) in mine for each in leaves(others, _NODES))


def _tensors(value: Any) -> list[Tensor]:
    return [each for each in value or () if isinstance(each, Tensor)]


def _spelled(call: ast.Call | None) -> list[ast.expr]:
    """Return how a call of `grad` writes what is differentiated, and by what."""
    if call is None:
        return []
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    both = [*call.args[:2], *(given[name] for name in ("outputs", "inputs") if name in given)]
    if len(both) < 2:
        return both
    return [both[0], *(both[1].elts if isinstance(both[1], ast.List | ast.Tuple) else [both[1]])]


def _name(index: int, tensor: Tensor, spelled: list[ast.expr], frame: FrameType) -> str:
    written = spelled[min(index, len(spelled) - 1)] if spelled else None
    dotted = isinstance(written, ast.Name | ast.Attribute | ast.Subscript) and index < len(spelled)
    name = None if dotted and not isinstance(tensor, Parameter) else named(tensor, frame)
    if name is None and written is not None:
        name = ast.unparse(written)
    return f"`{name}`" if name is not None else "a tensor"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
