"""A global holds what the last call has seen: `_last`."""

import torch
from torch import nn

encoder = nn.Linear(4, 4)
optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
_last = None


def consistency(z):
    global _last
    loss = z.pow(2).mean() if _last is None else (z - _last).pow(2).mean()  # mark: used here
    _last = z  # right: _last = z.detach()
    return loss


def train():
    for _ in range(3):
        loss = consistency(torch.tanh(encoder(torch.randn(2, 4))))  # mark: made here
        optimizer.zero_grad()
        loss.backward()  # GL506 in iteration 2, `_last`; mark: freed # help: `_last = _last.detach()`
        optimizer.step()


train()
