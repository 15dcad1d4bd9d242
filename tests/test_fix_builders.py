"""Fixes of one rule each: what they make of code that differs from the page's, and where there is none."""

from __future__ import annotations

import pytest
from pages import PRELUDE, RULES, read_blocks

import gradlint
from gradlint.config import Settings
from gradlint.static.fixes.mending import mend

HEAD = PRELUDE + "\n"
DEFAULT = Settings(preview=True)
STEP = "    optimizer.zero_grad()\n    criterion(model(x), y).backward()\n    optimizer.step()\n"

BUILT = {
    "compared-in-place-of-assigned": (
        "for p in model.parameters():\n    p.requires_grad == False\n",
        "for p in model.parameters():\n    p.requires_grad = False\n",
    ),
    "second-step-of-a-turn": (
        f"for x, y in loader:\n{STEP}    model(x).mean().backward()\n    optimizer.step()\n",
        f"for x, y in loader:\n{STEP}    optimizer.zero_grad()\n    model(x).mean().backward()\n    optimizer.step()\n",
    ),
    "kept-loss-is-a-sum": (
        f"total = 0.0\nfor x, y in loader:\n{STEP}    total += criterion(model(x), y) + model(x).mean()\n",
        f"total = 0.0\nfor x, y in loader:\n{STEP}    total += (criterion(model(x), y) + model(x).mean()).detach()\n",
    ),
    "argument-before-others": (
        (
            "for x, y in loader:\n    optimizer.zero_grad()\n    loss = criterion(model(x), y)\n"
            "    loss.backward(retain_graph=True, gradient=torch.ones(()))\n    optimizer.step()\n"
        ),
        (
            "for x, y in loader:\n    optimizer.zero_grad()\n    loss = criterion(model(x), y)\n"
            "    loss.backward(gradient=torch.ones(()))\n    optimizer.step()\n"
        ),
    ),
    "clipping-before-the-step-of-a-scaler": (
        (
            'scaler = torch.amp.GradScaler("cpu")\nclip = nn.utils.clip_grad_norm_\nfor x, y in loader:\n'
            "    optimizer.zero_grad()\n    scaler.scale(criterion(model(x), y)).backward()\n"
            "    norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n    scaler.step(optimizer)\n    scaler.update()\n"
        ),
        (
            'scaler = torch.amp.GradScaler("cpu")\nclip = nn.utils.clip_grad_norm_\nfor x, y in loader:\n'
            "    optimizer.zero_grad()\n    scaler.scale(criterion(model(x), y)).backward()\n    scaler.unscale_(optimizer)\n"
            "    norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n    scaler.step(optimizer)\n    scaler.update()\n"
        ),
    ),
    "sampler-of-some-runs": (
        (
            "from torch.utils.data import DistributedSampler, RandomSampler\n\n\ndef train(data, ranks):\n"
            "    if ranks > 1:\n        sampler = DistributedSampler(data)\n    else:\n        sampler = RandomSampler(data)\n"
            "    batches = DataLoader(data, sampler=sampler)\n    for epoch in range(3):\n        for x, y in batches:\n"
            "            optimizer.zero_grad()\n            criterion(model(x), y).backward()\n            optimizer.step()\n"
        ),
        (
            "from torch.utils.data import DistributedSampler, RandomSampler\n\n\ndef train(data, ranks):\n"
            "    if ranks > 1:\n        sampler = DistributedSampler(data)\n    else:\n        sampler = RandomSampler(data)\n"
            "    batches = DataLoader(data, sampler=sampler)\n    for epoch in range(3):\n"
            "        if isinstance(sampler, DistributedSampler):\n            sampler.set_epoch(epoch)\n        for x, y in batches:\n"
            "            optimizer.zero_grad()\n            criterion(model(x), y).backward()\n            optimizer.step()\n"
        ),
    ),
    "log-probabilities-are-wanted": (
        "labels = torch.zeros(8, dtype=torch.long)\nloss = F.nll_loss(torch.softmax(model(X), dim=-1), labels)\n",
        "labels = torch.zeros(8, dtype=torch.long)\nloss = F.nll_loss(torch.log_softmax(model(X), dim=-1), labels)\n",
    ),
    "comment-beside-what-is-deleted": (
        f"for x, y in loader:\n{STEP}    optimizer.step()  # once more\n    print(y)\n",
        f"for x, y in loader:\n{STEP}    # once more\n    print(y)\n",
    ),
    "nothing-beside-what-is-deleted": (
        f"for x, y in loader:\n{STEP}    optimizer.step()\n    print(y)\n",
        f"for x, y in loader:\n{STEP}    print(y)\n",
    ),
    "tabs-in-a-new-block": (
        (
            "for epoch in range(2):\n\toptimizer.lr = 0.1\n\tfor x, y in loader:\n\t\toptimizer.zero_grad()\n"
            "\t\tcriterion(model(x), y).backward()\n\t\toptimizer.step()\n"
        ),
        (
            'for epoch in range(2):\n\tfor group in optimizer.param_groups:\n\t\tgroup["lr"] = 0.1\n\tfor x, y in loader:\n'
            "\t\toptimizer.zero_grad()\n\t\tcriterion(model(x), y).backward()\n\t\toptimizer.step()\n"
        ),
    ),
    "comment-above-a-wrapped-loop": (
        f"for x, y in loader:\n{STEP}model.eval()\ntotal = 0.0\n# all of it\nfor x, y in val_loader:\n    total += criterion(model(x), y).item()\n",
        f"for x, y in loader:\n{STEP}model.eval()\ntotal = 0.0\n# all of it\nwith torch.no_grad():\n    for x, y in val_loader:\n        total += criterion(model(x), y).item()\n",
    ),
}


@pytest.mark.parametrize(("before", "after"), BUILT.values(), ids=BUILT)
def test_built(before: str, after: str) -> None:
    assert mend(HEAD + before, "train.py", DEFAULT, unsafe=True).text == HEAD + after


def test_a_copy_brings_its_import() -> None:
    head = f'"""A script."""\n\nfrom __future__ import annotations\n\n{PRELUDE[PRELUDE.index("import torch") :]}\n'
    example = next(
        block.source for block in read_blocks(RULES / "GL815-best-state-alias.md") if block.heading == "Example"
    )
    source = example.split("  # static")[0] + "\nmodel.load_state_dict(best_state)\n"
    after = head.replace("import torch\n", "import copy\nimport torch\n", 1) + source.replace(
        "model.state_dict()", "copy.deepcopy(model.state_dict())"
    )
    assert mend(head + source, "train.py", DEFAULT, unsafe=True).text == after


DOUBT = {
    "the-function-trains-too": (
        "GL302",
        (
            "def predict(net, x):\n    return net(x)\n\n\nfor x, y in loader:\n    optimizer.zero_grad()\n"
            "    criterion(predict(model, x), y).backward()\n    optimizer.step()\nmodel.eval()\ntotal = 0.0\n"
            "for x, y in val_loader:\n    total += criterion(predict(model, x), y).item()\n"
        ),
    ),
    "nobody-knows-the-epoch": (
        "GL709",
        (
            "from torch.utils.data import DistributedSampler\n\nsampler = DistributedSampler(data, 2, 0)\n"
            "batches = DataLoader(data, sampler=sampler)\nfor _ in range(3):\n    for x, y in batches:\n"
            "        optimizer.zero_grad()\n        criterion(model(x), y).backward()\n        optimizer.step()\n"
        ),
    ),
    "the-carried-state-is-none-at-first": (
        "GL506",
        (
            "carried = None\nopt = optim.SGD(rnn.parameters(), lr=0.1)\nfor x, y in loader:\n    opt.zero_grad()\n"
            "    output, carried = rnn(x.unsqueeze(1), carried)\n    output.mean().backward()\n    opt.step()\n"
        ),
    ),
    "the-activation-is-inside-of-the-model": (
        "GL901",
        (
            "classifier = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))\n"
            "loss = F.cross_entropy(classifier(X), torch.zeros(8, dtype=torch.long))\n"
        ),
    ),
    "the-schedule-wants-what-the-loop-makes": (
        "GL203",
        (
            "schedule = lr_scheduler.ReduceLROnPlateau(optimizer)\nfor epoch in range(9):\n    for x, y in loader:\n"
            "        optimizer.zero_grad()\n        loss = criterion(model(x), y)\n        loss.backward()\n"
            "        optimizer.step()\n        schedule.step(loss.item())\n"
        ),
    ),
    "a-dict-of-what-is-no-name": (
        "GL802",
        (
            "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
            "        self.heads = {1: nn.Linear(4, 1), 2: nn.Linear(4, 1)}\n\n"
            "    def forward(self, x, task):\n        return self.heads[task](x)\n"
        ),
    ),
}


@pytest.mark.parametrize(("code", "source"), DOUBT.values(), ids=DOUBT)
def test_in_doubt_there_is_no_fix(code: str, source: str) -> None:
    head = HEAD + "data = TensorDataset(X, Y)\n"
    found = [item for item in gradlint.check_source(head + source, settings=DEFAULT) if item.code == code]
    assert found
    assert [item.fix for item in found] == [None] * len(found)
