"""The changed tensor was a local variable of `forward`, and is gone."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 1)

    def forward(self, x):
        h = torch.sigmoid(self.first(x))  # mark: saved by this operation
        h *= 2  # mark: changed here # right: h = h * 2
        return self.last(h)


net = Net()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(3):
    opt.zero_grad()
    loss = net(torch.randn(2, 4)).mean()
    loss.backward()  # GL521 in iteration 1, `h`
    opt.step()
