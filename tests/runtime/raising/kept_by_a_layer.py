"""A layer computes something from its parameter where it is not there yet."""

import torch
from torch import nn


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.raw = nn.Parameter(torch.randn(4, 4))
        self.mixed = None

    def forward(self, x):
        if self.mixed is None:  # right: if True:
            self.mixed = self.raw.softmax(-1)  # mark: made here, in an earlier iteration
        return x @ self.mixed  # mark: used here


model = nn.Sequential(Mixer(), nn.Linear(4, 1))
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.randn(4, 8, 4):
    opt.zero_grad()
    model(x).pow(2).mean().backward()  # GL506 in iteration 2, `model.0.mixed`; mark: freed # help: compute `model.0.mixed` anew  # fmt: skip
    opt.step()
