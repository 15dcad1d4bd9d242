"""A group of parameters that comes later is given as parameters."""

import torch
from torch import nn

body, head = nn.Linear(2, 2), nn.Linear(2, 1)
opt = torch.optim.Adam(body.parameters(), lr=0.1)
opt.add_param_group(head.parameters())  # GL825 in iteration 0, is no group # help: {'params': head.parameters()} # right: opt.add_param_group({"params": head.parameters()})  # fmt: skip
