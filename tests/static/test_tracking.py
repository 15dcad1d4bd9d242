"""How much it matters that an evaluation records graphs: by what is kept of them, and by whom."""

import pytest

from gradlint import check_source

AGENT = """
import torch
from torch import nn

network = nn.Sequential(nn.Linear(4, 2), nn.Softmax(-1))
optimizer = torch.optim.SGD(network.parameters(), lr=0.1)


def sample(seen):
    choice = torch.distributions.Categorical(network(seen))
    action = choice.sample()
    return action.item(), choice.log_prob(action)


network.train()
for episode in range(9):
    logarithms = []
    for step in range(9):
        action, logarithm = sample(torch.randn(4))
        logarithms.append(logarithm)
    optimizer.zero_grad()
    (-torch.stack(logarithms)).sum().backward()
    optimizer.step()

network.eval()
told = []
for step in range(9):
    action, logarithm = sample(torch.randn(4))
    told.append({kept})
"""


@pytest.mark.parametrize(("kept", "said"), [("action", ("GL302", "info")), ("logarithm", ("GL501", "error"))])
def test_a_graph_is_kept_by_the_evaluation_and_not_by_the_training_that_needs_it(
    kept: str, said: tuple[str, str]
) -> None:
    (found,) = check_source(AGENT.replace("{kept}", kept))
    assert (found.code, found.severity.value) == said


HEADS = """
import torch
from torch import nn

network = nn.Linear(4, 2)
optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
for x in torch.randn(9, 8, 4):
    optimizer.zero_grad()
    network(x).sum().backward()
    optimizer.step()

network.eval()
losses = []
total = 0.0
for x in torch.randn(9, 8, 4):
    outputs = network(x)
    {begun}
    for each in range(2):
        total += outputs[each].sum()
    losses.append(outputs.sum().item())
"""


@pytest.mark.parametrize(("begun", "said"), [("total = 0.0", ("GL302", "info")), ("pass", ("GL501", "error"))])
def test_a_sum_that_begins_anew_in_each_batch_keeps_no_batch(begun: str, said: tuple[str, str]) -> None:
    (found,) = check_source(HEADS.replace("{begun}", begun))
    assert (found.code, found.severity.value) == said
