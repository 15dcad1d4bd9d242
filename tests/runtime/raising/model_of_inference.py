"""A model is built in inference mode, and trained."""

import torch
from torch import nn


@torch.inference_mode()  # right: @torch.no_grad()
def built():
    return nn.Linear(4, 1)


model = built()
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.randn(3, 8, 4):
    opt.zero_grad()
    model(x).mean().backward()
    opt.step()  # GL309 in iteration 0, `model.weight` was made in inference mode, and `opt` changes it here
