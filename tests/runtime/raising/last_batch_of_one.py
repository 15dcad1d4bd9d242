"""One sample is left for the last batch."""

import torch
from torch import nn

net, criterion = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)), nn.MSELoss()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
x, y = torch.randn(7, 4), torch.randn(7, 1)  # right: x, y = torch.randn(6, 4), torch.randn(6, 1)
for start in range(0, len(x), 3):
    opt.zero_grad()
    loss = criterion(net(x[start : start + 3]), y[start : start + 3])  # GL922 in iteration 0, `net.1` normalizes over the batch # help: drop_last=True  # fmt: skip
    loss.backward()
    opt.step()
