"""A list that nobody empties: `losses`."""

import torch
from torch import nn

model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
losses = []
for _ in range(3):
    losses.append(model(torch.randn(2, 4)).pow(2).mean())  # mark: made here # right: losses = [model(torch.randn(2, 4)).pow(2).mean()]  # fmt: skip
    optimizer.zero_grad()
    torch.stack(losses).sum().backward()  # GL506 in iteration 2, `losses`; mark: freed; used here # help: or empty it
    optimizer.step()
