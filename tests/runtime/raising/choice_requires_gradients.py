"""What was chosen is told to require gradients."""

import torch
from torch import nn

model = nn.Linear(4, 3)
chosen = model(torch.randn(8, 4)).argmax(1)  # mark: made here # right: chosen = model(torch.randn(8, 4)).softmax(1)
chosen.requires_grad = True  # GL527 in iteration 0, `chosen` is of int64 # help: from the scores themselves # right: loss = chosen.log().mean()  # fmt: skip
loss = (chosen == 1).float().mean()  # right: loss = chosen.log().mean()
loss.backward()
