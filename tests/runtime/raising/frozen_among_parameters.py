"""The inner step differentiates by all parameters, and some are frozen."""

import torch
from torch import nn

net, criterion = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)), nn.MSELoss()
net[0].requires_grad_(False)
parameters = list(net.parameters())  # right: parameters = [each for each in net.parameters() if each.requires_grad]
loss = criterion(net(torch.randn(2, 4)), torch.randn(2, 1))
slopes = torch.autograd.grad(loss, parameters)  # GL525 in iteration 0, `net.0.weight`, `net.0.bias` do not require gradients # help: only those that require gradients  # fmt: skip
