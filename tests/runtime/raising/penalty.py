"""The gradient of a penalty has no graph."""

import torch
from torch import nn

critic = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(critic.parameters(), lr=0.1)


def penalty(real):
    (grad,) = torch.autograd.grad(critic(real).sum(), real)  # mark: lost here # right: (grad,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)  # fmt: skip
    return grad.pow(2).sum(1).mean()


for _ in range(3):
    loss = penalty(torch.randn(2, 4, requires_grad=True))
    optimizer.zero_grad()
    loss.backward()  # GL112 in iteration 1, `loss` comes from `autograd.grad` without `create_graph=True` # help: pass `create_graph=True` to it  # fmt: skip
    optimizer.step()
