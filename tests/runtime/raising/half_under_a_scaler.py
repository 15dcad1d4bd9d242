"""The model itself is converted to half precision."""

import torch
from torch import nn

net, criterion = nn.Linear(4, 1), nn.MSELoss()
net.half()  # right: pass
opt = torch.optim.SGD(net.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu")
for _ in range(3):
    opt.zero_grad()
    x = torch.randn(2, 4)
    with torch.autocast("cpu", dtype=torch.float16):
        loss = criterion(net(x), torch.zeros(2, 1))
    scaler.scale(loss).backward()
    scaler.step(opt)  # GL617 in iteration 0, `net.weight` is of half precision # help: no `.half()`
    scaler.update()
