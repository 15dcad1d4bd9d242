"""The forward pass runs in a function under `no_grad`, the backward pass in another one."""

import torch
from torch import nn

net, criterion = nn.Linear(4, 1), nn.MSELoss()
opt = torch.optim.SGD(net.parameters(), lr=0.1)


@torch.no_grad()  # right: @torch.enable_grad()
def predict(x):
    return net(x)  # GL306 in iteration 1, `loss`


def train(loss):
    opt.zero_grad()
    loss.backward()  # mark: the backward pass starts here
    opt.step()


for _ in range(3):
    prediction = predict(torch.randn(2, 4))
    train(criterion(prediction, torch.randn(2, 1)))
