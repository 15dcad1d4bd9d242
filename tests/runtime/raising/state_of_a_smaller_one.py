"""The head came into the optimizer after its state was saved."""

import torch
from torch import nn

body, head = nn.Linear(4, 8), nn.Linear(8, 1)
saved = torch.optim.Adam(body.parameters(), lr=0.1).state_dict()
parameters = [*body.parameters(), *head.parameters()]  # right: parameters = list(body.parameters())
opt = torch.optim.Adam(parameters, lr=0.1)
opt.load_state_dict(saved)  # GL816 in iteration 0, group 0 of `opt` has 4 parameters, and that of the state that it is given 2  # fmt: skip
