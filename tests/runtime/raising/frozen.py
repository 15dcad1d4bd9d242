"""Everything that the loss depends on is frozen."""

import torch
from torch import nn

net, criterion = nn.Linear(4, 1), nn.MSELoss()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for parameter in net.parameters():
    parameter.requires_grad = False  # right: parameter.requires_grad = True
for _ in range(3):
    opt.zero_grad()
    loss = criterion(net(torch.randn(2, 4)), torch.randn(2, 1))  # mark: the graph is lost here
    loss.backward()  # GL112 in iteration 1, `net`
    opt.step()
