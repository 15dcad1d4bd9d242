"""A dict keeps graphs of the first epoch: `cache`."""

import torch
from torch import nn

encoder, head = nn.Linear(4, 8), nn.Linear(8, 1)
optimizer = torch.optim.SGD([*encoder.parameters(), *head.parameters()], lr=0.01)
batches = [torch.randn(2, 4) for _ in range(3)]
cache = {}


def embedded(index, x):
    if index not in cache:
        cache[index] = torch.tanh(encoder(x))  # mark: made here, in an earlier # right: return torch.tanh(encoder(x))
    return cache[index]


for _ in range(2):
    for index, x in enumerate(batches):
        loss = head(embedded(index, x)).pow(2).mean()  # mark: used here
        optimizer.zero_grad()
        loss.backward()  # GL506 in iteration 4, `cache`; mark: freed # help: in `cache` (`.detach()`), or empty it
        optimizer.step()
