"""The optimizer is given the model."""

import torch
from torch import nn

model = nn.Bilinear(2, 2, 1)
opt = torch.optim.SGD(model, lr=0.1)  # GL825 in iteration 0, `model` is a module # help: `model.parameters()` # right: opt = torch.optim.SGD(model.parameters(), lr=0.1)  # fmt: skip
