"""One after the other, the losses of several tasks run backward through the trunk that they share."""

import torch
from torch import nn

trunk, heads = nn.Sequential(nn.Linear(4, 8), nn.Tanh()), nn.ModuleList(nn.Linear(8, 1) for _ in range(3))
optimizer = torch.optim.SGD([*trunk.parameters(), *heads.parameters()], lr=0.1)


def gradients(losses):
    for loss in losses:
        loss.backward()  # GL503 in iteration 1, runs through a graph; mark: freed by this backward # help: to all but the last # right: loss.backward(retain_graph=loss is not losses[-1])


for _ in range(2):
    features = trunk(torch.randn(2, 4))  # mark: the shared part was made here
    losses = [head(features).pow(2).mean() for head in heads]  # mark: used again here
    optimizer.zero_grad()
    gradients(losses)
    optimizer.step()
