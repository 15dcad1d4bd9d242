"""One group of parameters is given as it is."""

import torch
from torch import nn

model = nn.Linear(4, 1)
opt = torch.optim.SGD({"params": model.parameters(), "lr": 0.1})  # GL825 in iteration 0, a group of parameters is given, not a list # right: opt = torch.optim.SGD([{"params": model.parameters(), "lr": 0.1}])  # fmt: skip
