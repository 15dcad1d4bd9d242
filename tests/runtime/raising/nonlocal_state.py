"""A closure carries it: `h`."""

import torch
from torch import nn


def made(cell, head):
    h = torch.zeros(2, 8)

    def forward(x):
        nonlocal h
        h = cell(x, h)  # mark: made here; used here # right: h = cell(x, h.detach())
        return head(h)

    return forward


cell, head = nn.GRUCell(4, 8), nn.Linear(8, 1)
optimizer = torch.optim.SGD([*cell.parameters(), *head.parameters()], lr=0.1)
forward = made(cell, head)
for _ in range(3):
    loss = forward(torch.randn(2, 4)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()  # GL506 in iteration 2, `h`; mark: freed # help: `h = h.detach()`
    optimizer.step()
