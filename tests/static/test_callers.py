"""Which files are read because they may call something: their words tell."""

from __future__ import annotations

import pytest

from gradlint.static.sources.callers import may_call
from gradlint.static.understanding import Callee

TRAIN = Callee("train", ("engine", "ours"))


@pytest.mark.parametrize(
    ("source", "callee", "may"),
    [
        ("from ours.engine import train\ntrain(1)\n", TRAIN, True),
        ("import ours\nspawn(ours.train)\n", TRAIN, False),
        ("from ours import train\nspawn(train, 2)\n", TRAIN, True),
        ("from ours import train_all\ntrain_all()\n", TRAIN, False),
        ("from theirs import train\ntrain()\n", TRAIN, False),
        ("from theirs import x\ntrain(engine)\n", TRAIN, False),
        ('    "from ours import train\\n",\n    "train()"\n', TRAIN, True),
        ("from ours import trainé\ntrainé()\n", Callee("trainé", ("ours",)), True),
        ("import torch\nloss.backward(train)\n", Callee("train"), True),
        ("train()\n", Callee("train"), False),
        ("import torch\nloss.backward()\n", Callee(""), True),
    ],
)
def test_file_may_call_what_it_imports_and_calls(source: str, callee: Callee, may: bool) -> None:
    others = {Callee("elsewhere", ("ours",)), Callee("fit", ("engine",))}
    assert may_call(source.encode(), frozenset({callee})) is may
    assert may_call(source.encode(), frozenset({callee, *others})) is may
