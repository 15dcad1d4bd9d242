"""Classes come as floating point numbers."""

import torch
from torch.nn import functional as F

w = torch.zeros(3, 5, requires_grad=True)
labels = torch.tensor([1.0, 3.0, 2.0])  # mark: made here # right: labels = torch.tensor([1, 3, 2])
loss = F.cross_entropy(w, labels)  # GL924 in iteration 0, `labels` is of float32, # help: `labels.long()`
loss.backward()
