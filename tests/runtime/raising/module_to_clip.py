"""Clipping is given the model."""

import torch
from torch import nn

model = nn.Linear(2, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.randn(3, 4, 2):
    model(x).mean().backward()
    nn.utils.clip_grad_norm_(model, 1.0)  # GL825 in iteration 0, `model` is a module # right: nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # fmt: skip
    opt.step()
    opt.zero_grad()
