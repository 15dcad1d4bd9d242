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


TABLES = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.tables = nn.ModuleList([nn.Linear(4, 2), nn.Linear(4, 2)])

    def forward(self, parts):
        return torch.cat(parts, 1)


def evaluate(net, batches):
    net.eval()
    tables = net.tables
    {before}
    for number, columns in enumerate(batches):
        {within}
        for column in {columns}:
            parts.append(tables[number](column))
        print(len(parts))


net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for columns in torch.randn(9, 2, 8, 4):
    optimizer.zero_grad()
    net([table(column) for table, column in zip(net.tables, columns)]).mean().backward()
    optimizer.step()
evaluate(net, torch.randn(9, 2, 8, 4))
"""


@pytest.mark.parametrize(
    ("before", "within", "columns", "severity"),
    [
        ("pass", "parts = []", "columns", "info"),
        ("pass", "parts = []", "range(9)", "info"),
        ("pass", "parts = []", "dataset", "warning"),
        ("pass", "parts = []", "range(0, 90, 9)", "warning"),
        ("parts = []", "pass", "columns", "warning"),
    ],
)
def test_a_list_that_begins_anew_in_each_batch_keeps_no_batch(
    before: str, within: str, columns: str, severity: str
) -> None:
    source = TABLES.replace("{before}", before).replace("{within}", within).replace("{columns}", columns)
    (found,) = check_source(source)
    assert (found.code, found.severity.value) == ("GL302", severity)
    assert any("kept" in each.text for each in found.related) == (severity == "warning")


DECODER = """
import torch
from torch import nn


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(4, 9)

    def forward(self, vectors, words):
        told = words.new_zeros(words.size())
        scores = self.out(vectors)
        for i in range(len(words)):
            told[i] = scores[i].topk(1)[1].view(-1)
        best, where = scores.max(-1)
        higher, first = torch.max(scores, dim=-1)
        return nn.functional.cross_entropy(scores, words), {kept}


decoder = Decoder()
optimizer = torch.optim.SGD(decoder.parameters(), lr=0.1)
data = [(torch.randn(8, 4), torch.zeros(8, dtype=torch.long))]
for vectors, words in data:
    optimizer.zero_grad()
    loss, _ = decoder(vectors, words)
    loss.backward()
    optimizer.step()
decoder.eval()
kept = []
for vectors, words in data:
    _, each = decoder(vectors, words)
    kept.append(each)
"""


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ("told", ("GL302", "info")),
        ("where", ("GL302", "info")),
        ("first", ("GL302", "info")),
        ("scores.sort(1).indices", ("GL302", "info")),
        ("best", ("GL501", "error")),
        ("higher", ("GL501", "error")),
        ("scores.sort(1).values", ("GL302", "warning")),
        ("scores.max()", ("GL501", "error")),
        ("torch.max(scores, scores)", ("GL501", "error")),
    ],
)
def test_indices_of_what_was_found_carry_no_graph(kept: str, said: tuple[str, str]) -> None:
    (found,) = check_source(DECODER.replace("{kept}", kept))
    assert (found.code, found.severity.value) == said


LOADED = """
import torch
from torch import nn


def enhance(model, x):
    return model(x)


model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
model.load_state_dict(torch.load("model.pt"))
with torch.no_grad():
    for x in torch.randn(9, 8, 4):
        print(enhance(model, x))
"""


def test_an_evaluation_is_not_told_to_have_come_an_iteration_before_itself() -> None:
    (found,) = check_source(LOADED)
    assert (found.code, found.location.row) == ("GL303", 7)
    assert [each.text for each in found.related] == ["its trained parameters are loaded here"]
