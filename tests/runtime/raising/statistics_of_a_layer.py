"""A layer within the model updates a buffer that its own product has saved."""

import torch
from torch import nn


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.ones(4))

    def forward(self, x):
        y = x * self.mean  # mark: saved by this operation # right: y = x * self.mean.clone()
        self.mean.lerp_(x.detach().mean(0), 0.1)  # mark: changed here
        return y


model = nn.Sequential(nn.Linear(4, 4), Scaled(), nn.Linear(4, 1))
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.randn(3, 8, 4):
    opt.zero_grad()
    model(x).mean().backward()  # GL521 in iteration 1, `model.1.mean`, saved by MulBackward0
    opt.step()
