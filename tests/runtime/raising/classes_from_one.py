"""Classes are counted from 1."""

import torch
from torch import nn

model, criterion = nn.Linear(4, 3), nn.CrossEntropyLoss()
labels = torch.tensor([1, 3, 2])  # mark: made here # right: labels = torch.tensor([0, 2, 1])
loss = criterion(model(torch.randn(3, 4)), labels)  # GL924 in iteration 0, `labels` holds classes from 1 to 3, # help: `labels - 1`  # fmt: skip
loss.backward()
