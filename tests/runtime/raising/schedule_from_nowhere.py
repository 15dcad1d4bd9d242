"""A schedule shall go on, of an optimizer that has never had one."""

import torch
from torch import nn
from torch.optim import lr_scheduler

opt = torch.optim.SGD(nn.Linear(4, 1).parameters(), lr=0.1)
schedule = lr_scheduler.StepLR(opt, 30, last_epoch=20)  # GL217 in iteration 0, but `opt` does not know at which rate it began # right: schedule = lr_scheduler.StepLR(opt, 30)  # fmt: skip
