"""Three backward passes, of which the second one has nothing to do with the matter."""

import torch
from torch import nn

net, left, right = nn.Sequential(nn.Linear(4, 8), nn.ReLU()), nn.Linear(8, 1), nn.Linear(8, 1)
opt = torch.optim.SGD([*net.parameters(), *left.parameters(), *right.parameters()], lr=0.1)
for _ in range(3):
    opt.zero_grad()
    features = net(torch.randn(2, 4))  # mark: shared part was made here
    one, two = left(features).pow(2).mean(), right(torch.randn(2, 8)).pow(2).mean()
    three = right(features).pow(2).mean()  # mark: used again here
    one.backward()  # mark: freed # right: one.backward(retain_graph=True)
    two.backward()
    three.backward()  # GL503 in iteration 1, `features`
    opt.step()
