"""A layer of a parallel module is run twice, each time in a reentrant checkpoint."""

import tempfile

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        for _ in range(2):
            x = checkpoint(self.layer, x, use_reentrant=True)  # right: x = checkpoint(self.layer, x, use_reentrant=False)  # fmt: skip
        return x


store = distributed.FileStore(tempfile.mktemp(), 1)
distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
net = DistributedDataParallel(Net(), find_unused_parameters=True)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
try:
    for x in torch.randn(3, 2, 4):
        opt.zero_grad()
        loss = net(x.requires_grad_()).mean()
        loss.backward()  # GL716 in iteration 0, of `net` gets a second gradient # help: `use_reentrant=False`
        opt.step()
finally:
    distributed.destroy_process_group()
