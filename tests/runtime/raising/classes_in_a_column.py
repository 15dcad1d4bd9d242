"""Each sample has a row of one class."""

import torch
from torch.nn import functional as F

w = torch.zeros(3, 5, requires_grad=True)
labels = torch.tensor([[1], [3], [2]])  # mark: made here # right: labels = torch.tensor([1, 3, 2])
loss = F.cross_entropy(w, labels)  # GL924 in iteration 0, `labels` has the shape (3, 1) # help: `labels.squeeze(1)`
loss.backward()
