"""The parameters were counted before, and there is nothing left for the optimizer."""

import torch
from torch import nn

net = nn.Linear(4, 1)
params = net.parameters()  # mark: the iterator is made here # right: params = list(net.parameters())
size = sum(parameter.numel() for parameter in params)  # mark: read to its end here
opt = torch.optim.SGD(params, lr=0.1)  # GL609 in iteration 0, `params`
