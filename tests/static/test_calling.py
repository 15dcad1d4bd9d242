"""What a finding calls somebody whom the source gives no name of its own."""

from __future__ import annotations

import pytest

import gradlint

_HEAD = "import torch\nfrom torch import nn\n"
_LOOP = """
opt_g = torch.optim.Adam({g}.parameters())
opt_d = torch.optim.Adam({d}.parameters())
for x in torch.randn(9, 2, 4):
    opt_d.zero_grad()
    ({d}({g}(x)) - {d}(x)).mean().backward()
    opt_d.step()
    opt_g.zero_grad()
    (-{d}({g}(x))).mean().backward()
    opt_g.step()
"""


@pytest.mark.parametrize(
    ("made", "g", "d", "name"),
    [
        ("nets = [nn.Linear(4, 4), nn.Linear(4, 1)]", "nets[0]", "nets[1]", "nets[0]"),
        ("nets = {'G': nn.Linear(4, 4), 'D': nn.Linear(4, 1)}", "nets['G']", "nets['D']", "nets['G']"),
        ("G, D = nn.Linear(4, 4), nn.Linear(4, 1)", "G", "D", "G"),
        ("G = nn.DataParallel(nn.Linear(4, 4))\nD = nn.DataParallel(nn.Linear(4, 1))", "G", "D", "G"),
    ],
    ids=["of-a-list", "of-a-dict", "of-a-tuple", "wrapped"],
)
def test_module_is_called_as_the_user_writes_it(made: str, g: str, d: str, name: str) -> None:
    source = _HEAD + made + _LOOP.format(g=g, d=d)
    [found] = [each for each in gradlint.check_source(source) if each.code == "GL509"]
    assert f"`{name}`" in found.message
