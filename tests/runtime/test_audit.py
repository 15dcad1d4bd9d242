"""`gradlint.audit`: what each parameter is to the optimizers, and what a step does to it."""

from __future__ import annotations

import torch
from torch import nn, optim

import gradlint

X = torch.randn(8, 4)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.head = nn.Linear(8, 1)
        self.aux = nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.body(x)))


def remarks(audit: gradlint.runtime.audit.Audit) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for parameter in audit.odd:
        found.setdefault(parameter.remark, set()).add(parameter.name.partition(".")[0])
    return found


def test_what_holds_now() -> None:
    net, other = Net(), nn.Linear(2, 2)
    net.body.requires_grad_(False)
    opt = optim.SGD([*net.body.parameters(), *net.head.parameters(), *other.parameters()], lr=0.1)
    audit = gradlint.audit(net, opt)
    assert remarks(audit) == {
        "frozen, but in an optimizer": {"body"},
        "in no optimizer": {"aux"},
        "not in the model": {"-"},
    }
    assert {parameter.moved for parameter in audit.parameters} == {None}
    assert "8 parameters" not in str(audit)
    assert "6 parameters, 4 trainable" in str(audit)


def test_one_step_shows_who_gets_a_gradient_and_who_moves() -> None:
    net = Net()
    opt, head_opt = (
        optim.SGD([*net.body.parameters(), *net.aux.parameters()], lr=0.1),
        optim.SGD(net.head.parameters(), 0.0),
    )

    def step() -> None:
        opt.zero_grad()
        head_opt.zero_grad()
        net(X).pow(2).mean().backward()
        opt.step()
        head_opt.step()
        opt.zero_grad()

    audit = gradlint.audit(net, opt, head_opt, step=step)
    assert remarks(audit) == {"did not move": {"head"}, "no gradient": {"aux"}}
    assert {parameter.name for parameter in audit.parameters if parameter.moved} == {"body.weight", "body.bias"}
    assert "head_opt" in str(audit)


def test_nothing_is_odd_about_a_model_that_trains_and_nothing_is_left_on_it() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    opt = optim.AdamW([{"params": net[0].parameters()}, {"params": net[2].parameters(), "lr": 0.1}])
    twin = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    twin.load_state_dict(net.state_dict())
    twin_opt = optim.AdamW([{"params": twin[0].parameters()}, {"params": twin[2].parameters(), "lr": 0.1}])

    def step(model: nn.Module, optimizer: optim.Optimizer) -> None:
        model(X).pow(2).mean().backward()
        optimizer.step()

    audit = gradlint.audit(net, opt, step=lambda: step(net, opt))
    step(twin, twin_opt)
    assert audit.odd == []
    assert "opt[1]" in str(audit)
    assert all(torch.equal(one, other) for one, other in zip(net.parameters(), twin.parameters(), strict=True))
    assert not any(parameter._post_accumulate_grad_hooks for parameter in net.parameters())
