"""A model that returns the loss with its scores."""

import torch
from torch import nn


class Scored(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 1)

    def forward(self, x):
        scores = self.net(x)
        return scores.detach(), scores.pow(2).mean()


model = Scored()
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.randn(3, 8, 4):
    opt.zero_grad()
    loss = model(x)  # mark: returned by this call # right: _, loss = model(x)
    loss.backward()  # GL112 in iteration 0, is a tuple: `loss` is all that `model` returns # help: out of it: `loss[1]`
    opt.step()
