"""Only what requires gradients is trained, and nothing does."""

import torch
from torch import nn

net = nn.Linear(4, 1)
net.requires_grad_(False)  # right: net.requires_grad_(True)
params = filter(lambda parameter: parameter.requires_grad, net.parameters())
opt = torch.optim.SGD(params, lr=0.1)  # GL801 in iteration 0, `net`
