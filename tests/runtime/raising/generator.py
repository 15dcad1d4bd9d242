"""A generator holds what it has computed once: `features`."""

import torch
from torch import nn

body, head = nn.Sequential(nn.Linear(4, 8), nn.Tanh()), nn.Linear(8, 1)
optimizer = torch.optim.SGD([*body.parameters(), *head.parameters()], lr=0.01)


def losses():
    features = body(torch.randn(2, 4))  # mark: built here, outside the loop # right: features = body(torch.randn(2, 4)).detach()  # fmt: skip
    for _ in range(3):
        yield head(features).pow(2).mean()


for loss in losses():
    optimizer.zero_grad()
    loss.backward()  # GL504 in iteration 2, `features`; mark: freed # help: into the loop, or `.detach()` it
    optimizer.step()
