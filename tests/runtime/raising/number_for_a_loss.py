"""The loss is turned into a number before the backward pass."""

import torch
from torch import nn

net, criterion = nn.Linear(4, 1), nn.MSELoss()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(3):
    opt.zero_grad()
    loss = criterion(net(torch.randn(2, 4)), torch.randn(2, 1)).item()  # mark: the graph is lost here # right: loss = criterion(net(torch.randn(2, 4)), torch.randn(2, 1))  # fmt: skip
    loss.backward()  # GL112 in iteration 0, is a plain number: `loss` comes from
    opt.step()
