"""An object keeps what it has computed when it was made: `self.anchor`."""

import torch
from torch import nn


class Trainer:
    def __init__(self, net):
        self.net = net
        self.optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        self.anchor = net(torch.randn(2, 4)).mean(0)  # mark: built here, outside `step` # right: self.anchor = net(torch.randn(2, 4)).mean(0).detach()  # fmt: skip

    def step(self, x):
        loss = (self.net(x) - self.anchor).pow(2).mean()
        self.optimizer.zero_grad()
        loss.backward()  # GL504 in iteration 2, `self.anchor` is built once, before `step`; mark: freed # help: into `step`, or `.detach()` it  # fmt: skip
        self.optimizer.step()


trainer = Trainer(nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1)))
for _ in range(3):
    trainer.step(torch.randn(2, 4))
