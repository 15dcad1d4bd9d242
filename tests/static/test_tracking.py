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
