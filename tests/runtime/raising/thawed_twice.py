"""A part is thawed and added, though the optimizer has it already."""

import torch
from torch import nn

net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
net[0].requires_grad_(False)
opt = torch.optim.SGD(net.parameters(), lr=0.1)  # right: opt = torch.optim.SGD(net[2].parameters(), lr=0.1)
net[0].requires_grad_(True)
opt.add_param_group({"params": net[0].parameters(), "lr": 0.01})  # GL812 in iteration 0, `net[0]` are in another group already, with those of `opt`  # fmt: skip
