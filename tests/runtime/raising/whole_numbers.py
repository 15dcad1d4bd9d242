"""A parameter is made of whole numbers."""

import torch
from torch import nn

steps = torch.arange(4)  # mark: made here # right: steps = torch.arange(4.0)
weight = nn.Parameter(steps)  # GL527 in iteration 0, `steps` is of int64 # help: .float()
