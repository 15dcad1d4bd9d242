"""A record of two tensors carries them: `self.state`."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class State:
    h: torch.Tensor
    c: torch.Tensor


class Agent:
    def __init__(self):
        self.cell = nn.LSTMCell(4, 8)
        self.state = State(torch.zeros(2, 8), torch.zeros(2, 8))
        self.opt = torch.optim.SGD(self.cell.parameters(), lr=0.1)

    def learn(self, x):
        h, c = self.cell(x, (self.state.h, self.state.c))  # mark: made here; used here
        self.state = State(h, c)  # right: self.state = State(h.detach(), c.detach())
        self.opt.zero_grad()
        h.mean().backward()  # GL506 in iteration 2, `self.state.h`; mark: freed # help: self.state.h.detach()
        self.opt.step()


agent = Agent()
for x in torch.randn(4, 2, 4):
    agent.learn(x)
