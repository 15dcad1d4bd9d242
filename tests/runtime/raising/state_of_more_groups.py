"""The state is that of an optimizer with a group for each part."""

import torch
from torch import nn

body, head = nn.Linear(4, 8), nn.Linear(8, 1)
groups = [{"params": body.parameters()}, {"params": head.parameters(), "lr": 0.01}]
saved = torch.optim.Adam(groups, lr=0.1).state_dict()
parameters = [*body.parameters(), *head.parameters()]  # right: parameters = [{"params": body.parameters()}, {"params": head.parameters()}]  # fmt: skip
opt = torch.optim.Adam(parameters, lr=0.1)
opt.load_state_dict(saved)  # GL816 in iteration 0, `opt` has 1 group of parameters, and the state that it is given is for 2  # fmt: skip
