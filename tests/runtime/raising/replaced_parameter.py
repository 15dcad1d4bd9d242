"""An update by hand puts a tensor in the place of a parameter."""

import torch
from torch import nn

model = nn.Linear(4, 1)
for x in torch.randn(3, 8, 4):
    model.zero_grad()
    model(x).mean().backward()
    with torch.no_grad():
        model.weight = model.weight - 0.1 * model.weight.grad  # GL114 in iteration 0, torch refuses a tensor # right: model.weight -= 0.1 * model.weight.grad  # fmt: skip
