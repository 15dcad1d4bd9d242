"""A parameter is initialised in place, with gradients on."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(4, 4))
        self.weight.normal_(0, 0.02)  # GL114 in iteration 0, of `self.weight` by hand # help: torch.no_grad(): self.weight.normal_(0, 0.02) # right: nn.init.normal_(self.weight, 0, 0.02)  # fmt: skip


Net()
