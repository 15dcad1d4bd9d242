"""-1 stands for what has no class."""

import torch
from torch.nn import functional as F

w = torch.zeros(3, 5, requires_grad=True)
labels = torch.tensor([-1, 3, 2])  # mark: made here # right: labels = torch.tensor([-100, 3, 2])
loss = F.nll_loss(w.log_softmax(1), labels)  # GL924 in iteration 0, from -1 to 3 # help: `ignore_index=-1`
loss.backward()
