"""The prediction is detached, and so is the loss."""

import torch
from torch import nn

net, criterion = nn.Linear(4, 1), nn.MSELoss()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(3):
    opt.zero_grad()
    x, y = torch.randn(2, 4), torch.randn(2, 1)
    prediction = net(x).detach()  # mark: the graph is lost here # right: prediction = net(x)
    loss = criterion(prediction, y.detach())
    loss.backward()  # GL112 in iteration 1, `loss`
    opt.step()
