"""A part of the model takes no part in the loss."""

import torch
from torch import nn

net, criterion = nn.ModuleDict({"body": nn.Linear(4, 1), "aside": nn.Linear(4, 1)}), nn.MSELoss()
loss = criterion(net["body"](torch.randn(2, 4)), torch.randn(2, 1))
slopes = torch.autograd.grad(loss, net.parameters())  # GL525 in iteration 0, `net.aside.weight`, `net.aside.bias` take no part in `loss` # help: allow_unused=True # right: slopes = torch.autograd.grad(loss, net.parameters(), allow_unused=True)  # fmt: skip
