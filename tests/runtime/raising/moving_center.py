"""A buffer of the module carries it: `model.center`."""

import torch
from torch import nn


class Centered(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 8)
        self.register_buffer("center", torch.zeros(8))

    def forward(self, x):
        z = self.net(x).tanh()
        self.center = 0.9 * self.center + 0.1 * z.mean(0)  # mark: made here; used here # right: self.center = 0.9 * self.center.detach() + 0.1 * z.mean(0)  # fmt: skip
        return z - self.center


model = Centered()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def step(x):
    loss = model(x).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()  # GL506 in iteration 2, `model.center`; mark: freed # help: `model.center = model.center.detach()`
    optimizer.step()


for _ in range(3):
    step(torch.randn(2, 4))
