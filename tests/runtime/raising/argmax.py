"""The loss is an accuracy, in a function."""

import torch
from torch import nn

net = nn.Linear(4, 3)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
labels = torch.tensor([0, 1])


def score(out):
    hits = out.argmax(1) == labels  # mark: the graph is lost here # right: hits = out.softmax(1)[[0, 1], labels]
    return hits.float().mean()


for _ in range(3):
    opt.zero_grad()
    loss = score(net(torch.randn(2, 4)))
    (1 - loss).backward()  # GL112 in iteration 1, `1 - loss`
    opt.step()
