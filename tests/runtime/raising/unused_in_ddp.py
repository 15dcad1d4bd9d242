"""A parameter of a parallel module takes no part in the loss."""

import tempfile

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.spare = nn.Linear(4, 1), nn.Linear(4, 1)

    def forward(self, x):
        return self.used(x)  # right: return self.used(x) + self.spare(x)


store = distributed.FileStore(tempfile.mktemp(), 1)
distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
net = DistributedDataParallel(Net())
opt = torch.optim.SGD(net.parameters(), lr=0.1)
try:
    for _ in range(3):
        opt.zero_grad()
        loss = net(torch.randn(2, 4)).mean()  # GL121 in iteration 0, `spare.weight`
        loss.backward()
        opt.step()
finally:
    distributed.barrier()  # What is still on its way would wait for whoever waits for it.
    distributed.destroy_process_group()
