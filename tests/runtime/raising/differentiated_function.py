"""A function that is differentiated forgets to reduce its losses."""

import torch
from torch import nn
from torch.func import functional_call, grad

net = nn.Linear(4, 1)
x, y = torch.randn(2, 4), torch.randn(2, 1)


def loss(parameters):
    return (functional_call(net, parameters, (x,)) - y) ** 2  # right: return ((functional_call(net, parameters, (x,)) - y) ** 2).mean()  # fmt: skip


slopes = grad(loss)(dict(net.named_parameters()))  # GL516 in iteration 0, what `loss` returns has 2 dimensions
