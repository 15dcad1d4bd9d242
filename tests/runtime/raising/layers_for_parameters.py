"""The optimizer is given layers."""

import torch
from torch import nn

first, last = nn.Linear(2, 2), nn.Linear(2, 1)
opt = torch.optim.Adam([first, last], lr=0.1)  # GL825 in iteration 0, `first` is a module # help: give the parameters of each # right: opt = torch.optim.Adam([*first.parameters(), *last.parameters()], lr=0.1)  # fmt: skip
