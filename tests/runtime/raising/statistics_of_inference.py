"""A running sum was made in inference mode, and is added to outside of it."""

import torch
from torch import nn

model = nn.Linear(4, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
with torch.inference_mode():  # right: with torch.no_grad():
    total = torch.zeros(4)
for x in torch.randn(3, 8, 4):
    total += x.mean(0)  # GL309 in iteration 0, `total` was made in inference mode, and is changed in place here
    opt.zero_grad()
    model(x).mean().backward()
    opt.step()
