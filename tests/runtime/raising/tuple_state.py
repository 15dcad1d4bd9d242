"""Both parts of the state of an LSTM are carried over: `state`."""

import torch
from torch import nn

lstm, out = nn.LSTM(4, 8, batch_first=True), nn.Linear(8, 1)
optimizer = torch.optim.SGD([*lstm.parameters(), *out.parameters()], lr=0.1)
state = None
for _ in range(3):
    h, state = lstm(torch.randn(2, 3, 4), state)  # mark: made here; used here # right: h, state = lstm(torch.randn(2, 3, 4))  # fmt: skip
    loss = out(h).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()  # GL506 in iteration 2, `state`; mark: freed # help: `state = tuple(each.detach() for each in state)`  # fmt: skip
    optimizer.step()
