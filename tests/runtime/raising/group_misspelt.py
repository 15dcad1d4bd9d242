"""A group of parameters has a misspelt key."""

import torch
from torch import nn

model = nn.Linear(4, 1)
opt = torch.optim.SGD([{"param": model.parameters()}], lr=0.1)  # GL825 in iteration 0, a group has no `'params'` # right: opt = torch.optim.SGD([{"params": model.parameters()}], lr=0.1)  # fmt: skip
