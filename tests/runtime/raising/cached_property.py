"""What is computed from a parameter is kept, as an attribute that is computed once."""

from functools import cached_property

import torch
from torch import nn


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.raw = nn.Parameter(torch.randn(4, 4))

    @cached_property  # right: @property
    def matrix(self):
        return self.raw.softmax(-1)  # mark: made here, in an earlier iteration

    def forward(self, x):
        return x @ self.matrix  # mark: used here


model = Mixer()
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.randn(4, 8, 4):
    opt.zero_grad()
    model(x).pow(2).mean().backward()  # GL506 in iteration 2, `model.matrix`; mark: freed # help: compute `model.matrix` anew  # fmt: skip
    opt.step()
