"""The critic's backward pass frees the generator's graph, and two optimizers step in one iteration."""

import torch
from torch import nn

generator, critic = nn.Linear(2, 4), nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
opt_g, opt_c = torch.optim.SGD(generator.parameters(), lr=0.1), torch.optim.SGD(critic.parameters(), lr=0.1)
for _ in range(3):
    fake = generator(torch.randn(8, 2))  # mark: shared part was made here
    opt_c.zero_grad()
    c_loss = critic(fake).mean() - critic(torch.randn(8, 4)).mean()  # right: c_loss = critic(fake.detach()).mean()
    c_loss.backward()  # mark: freed
    opt_c.step()
    opt_g.zero_grad()
    g_loss = -critic(fake).tanh().mean()  # mark: used again here
    g_loss.backward()  # GL503 in iteration 1, `fake`
    opt_g.step()
