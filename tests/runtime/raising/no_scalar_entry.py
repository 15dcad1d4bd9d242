"""A loss of every sample, in a dict: `losses["mse"]`."""

import torch
from torch import nn

model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    losses = {"mse": model(torch.randn(2, 4)).pow(2)}  # mark: computed here # right: losses = {"mse": model(torch.randn(2, 4)).pow(2).mean()}  # fmt: skip
    losses["mse"].backward()  # GL516 in iteration 0, `losses['mse']` has the shape (2, 1)
    optimizer.step()
