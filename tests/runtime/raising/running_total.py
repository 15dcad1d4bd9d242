"""The loss itself goes on: `total`."""

import torch
from torch import nn

model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
total = 0.0
for _ in range(3):
    total += model(torch.randn(2, 4)).pow(2).mean()  # mark: made here; used here # right: total = model(torch.randn(2, 4)).pow(2).mean()  # fmt: skip
    optimizer.zero_grad()
    total.backward()  # GL506 in iteration 2, `total`; mark: freed # help: from the loss of this iteration alone
    optimizer.step()
