"""An activation is added to in place, in a helper."""

import torch
from torch import nn

net = nn.Linear(4, 4)
opt = torch.optim.SGD(net.parameters(), lr=0.1)


def forward(x):
    y = torch.sigmoid(net(x))  # mark: saved by this operation
    z = y * 2
    y += 1  # mark: changed here # right: y = y + 1
    return y, z


for _ in range(3):
    opt.zero_grad()
    y, z = forward(torch.randn(2, 4))
    loss = (y + z).mean()
    loss.backward()  # GL521 in iteration 1, `y`
    opt.step()
