"""A module within the model carries it: `self.model.encoder.state`."""

import torch
from torch import nn


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.state = nn.GRUCell(4, 8), torch.zeros(2, 8)

    def forward(self, x):
        self.state = self.cell(x, self.state)  # mark: made here; used here # right: self.state = self.cell(x, self.state.detach())  # fmt: skip
        return self.state


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.out = Encoder(), nn.Linear(8, 1)

    def forward(self, x):
        return self.out(self.encoder(x))


class Trainer:
    def __init__(self):
        self.model = Net()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

    def step(self, x):
        loss = self.model(x).pow(2).mean()
        self.optimizer.zero_grad()
        loss.backward()  # GL506 in iteration 2, `self.model.encoder.state`; mark: freed # help: encoder.state.detach()`
        self.optimizer.step()


trainer = Trainer()
for _ in range(3):
    trainer.step(torch.randn(2, 4))
