"""A method computes the loss, and forgets to return it."""

import torch
from torch import nn


class Trainer:
    def __init__(self):
        self.net = nn.Linear(4, 1)
        self.opt = torch.optim.SGD(self.net.parameters(), lr=0.1)

    def loss(self, x):
        self.last = self.net(x).pow(2).mean()  # right: return self.net(x).pow(2).mean()

    def train(self, x):
        loss = self.loss(x)  # mark: returned by this call
        self.opt.zero_grad()
        loss.backward()  # GL112 in iteration 0, is None: `self.loss` returns nothing # help: `return loss`
        self.opt.step()


trainer = Trainer()
for x in torch.randn(3, 8, 4):
    trainer.train(x)
