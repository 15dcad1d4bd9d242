"""A bounded buffer keeps what a model has said: `self.buffer`."""

from collections import deque

import torch
from torch import nn

model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)


class Agent:
    def __init__(self):
        self.buffer = deque(maxlen=8)

    def act(self, x):
        value = model(x)  # mark: made here
        self.buffer.append((value, x.sum()))  # right: self.buffer = [(value, x.sum())]

    def learn(self):
        loss = sum((value - reward).pow(2).mean() for value, reward in self.buffer)  # mark: used here
        optimizer.zero_grad()
        loss.backward()  # GL506 in iteration 2, `self.buffer`; mark: freed # help: in `self.buffer` (`.detach()`)
        optimizer.step()


agent = Agent()
for _ in range(3):
    agent.act(torch.randn(2, 4))
    agent.learn()
