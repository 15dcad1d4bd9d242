"""The hidden state carries the graph of the last iteration: `h`."""

import torch
from torch import nn

rnn = nn.RNN(4, 4, batch_first=True)
opt = torch.optim.SGD(rnn.parameters(), lr=0.1)
h = torch.zeros(1, 2, 4)
for _ in range(3):
    opt.zero_grad()
    x = torch.randn(2, 5, 4)  # right: x, h = torch.randn(2, 5, 4), h.detach()
    out, h = rnn(x, h)  # mark: made here; used here
    loss = out.pow(2).mean()
    loss.backward()  # GL506 in iteration 2, `h`; mark: freed
    opt.step()
