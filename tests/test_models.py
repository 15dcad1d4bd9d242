"""The models of frameworks: their form, and how names are looked up in them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import gradlint
from gradlint.config import SettingsError, find_settings
from gradlint.models import Action, Meaning, ModelError, Models, built_in, built_in_kinds, read_model
from gradlint.static import check_paths

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILES = sorted((Path(gradlint.__file__).parent / "models").glob("*.toml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_model_has_the_form(file: Path) -> None:
    table = tomllib.loads(file.read_text(encoding="utf-8"))
    words = {
        "stdlib",
        "builtins",
        "tensor",
        "made",
        "pretrained",
        "module",
        "average",
        "saved",
        "parallel",
        "trainer",
        "optimizer",
    }
    model = read_model({key: value for key, value in table.items() if key not in words}, built_in_kinds())
    assert model.names or words & set(table)


def test_no_name_is_said_twice() -> None:
    said = [key for file in FILES for key in tomllib.loads(file.read_text(encoding="utf-8")).get("names", {})]
    assert sorted(said) == sorted(set(said))


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("torch.optim.Adam", "optimizer"),
        ("torch.optim.Optimizer", "unknown"),
        ("torch.optim.lr_scheduler.StepLR", "scheduler"),
        ("torch.nn.functional.relu", "tensor"),
        ("torch.cuda.manual_seed_all", "seed"),
        ("torch.cuda.synchronize", "pure"),
        ("json.dumps", "pure"),
        ("nobody.knows", "unknown"),
        ("accelerate.Accelerator", "engine"),
        ("pytorch_lightning.LightningModule", "module"),
        ("schedulefree.AdamWScheduleFree", "optimizer"),
        ("apex.amp.scale_loss", "acts"),
    ],
)
def test_the_most_literal_pattern_tells_the_role(name: str, role: str) -> None:
    assert built_in().role_of(name) == role


def test_a_project_speaks_first_and_may_use_the_kinds_of_others() -> None:
    own = read_model(
        {
            "names": {
                "torch.optim.Adam": "unknown",
                "mylib.make(net)": "optimizer of net",
                "mylib.Boss": "accelerator",
                "mylib.Engine(net, optimizer)": "motor",
            },
            "kinds": {
                "motor": {"methods": {"turn(loss, now)": ["backward loss", "step optimizer if now"], "*": "pure"}}
            },
        },
        built_in_kinds(),
    )
    models = Models(own)
    assert models.role_of("torch.optim.Adam") == "unknown"
    assert models.role_of("torch.optim.SGD") == "optimizer"
    assert models.meaning_of("mylib.make") == Meaning("optimizer", "optimizer", "net", ("net",))
    assert models.method_of("mylib.Boss", "backward") == built_in().method_of("accelerate.Accelerator", "backward")
    turn = models.method_of("mylib.Engine", "turn")
    assert turn is not None
    assert turn.actions == (Action("backward", ("loss",)), Action("step", ("optimizer",), "now"))
    assert models.method_of("mylib.Engine", "anything") == Meaning("pure", "pure")
    assert models.method_of("mylib.make", "step") is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"name": {}}, "unknown key `models.name`; did you mean `names`?"),
        ({"names": []}, "`names` must be a table"),
        ({"names": {"a.B": "optimiser"}}, '`names."a.B"`: unknown word `optimiser`; did you mean `optimizer`?'),
        (
            {"names": {"a.b": ["zero x", "bakward x"]}},
            '`names."a.b"`: unknown word `bakward`; did you mean `backward`?',
        ),
        ({"names": {"a.b(net)": "optimizer of model"}}, '`names."a.b(net)"` speaks of `model`; known are net'),
        ({"names": {"a.b(los)": "backward loss"}}, '`names."a.b(los)"` speaks of `loss`; did you mean `los`?'),
        ({"names": {"a.b": 3}}, '`names."a.b"` must be a word or a list of phrases'),
        ({"names": {"a.b": []}}, '`names."a.b"` must be a word or a list of phrases'),
        ({"names": {"a.b": ["step"]}}, '`names."a.b"`: `step` must say of what, such as `step optimizer`'),
        ({"kinds": {"k": {"likes": "module"}}}, "unknown key `kinds.k.likes`; did you mean `like`?"),
        ({"kinds": {"k": {"like": "modul"}}}, "`kinds.k.like` is `modul`; did you mean `module`?"),
        (
            {"kinds": {"k": {"methods": {"go": "pur"}}}},
            '`kinds.k.methods."go"`: unknown word `pur`; did you mean `pure`?',
        ),
    ],
)
def test_what_cannot_be_followed_is_named_with_the_nearest_right_word(table: object, message: str) -> None:
    with pytest.raises(ModelError) as error:
        read_model(table, built_in_kinds())
    assert str(error.value).startswith(message)


# A project's own ---------------------------------------------------------------------------------

DOCS = Path(__file__).parent.parent / "docs" / "models.md"
EXAMPLES = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)

LOOP = """\
import torch
from mylib.train import Engine

model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
engine = Engine(model, optimizer)
for x, y in torch.randn(8, 2, 4, 2):
    engine.learn(torch.nn.functional.mse_loss(model(x), y))
    engine.advance()
"""


def found(folder: Path, source: str, model: str) -> list[str]:
    (folder / "pyproject.toml").write_text(model, encoding="utf-8")
    (folder / "train.py").write_text(source, encoding="utf-8")
    return [f"{item.code}:{item.location.row}" for item in check_paths([folder]).diagnostics]


def test_a_mistake_behind_a_declared_wrapper_is_found(tmp_path: Path) -> None:
    assert found(tmp_path, LOOP, EXAMPLES[0]) == ["GL101:9"]


def test_correct_code_behind_a_declared_wrapper_is_not(tmp_path: Path) -> None:
    assert found(tmp_path, LOOP + "    engine.forget()\n", EXAMPLES[0]) == []


@pytest.mark.parametrize("call", ["engine.clear_all()", "forget_elsewhere(engine)"])
def test_what_is_not_declared_is_unknown(tmp_path: Path, call: str) -> None:
    assert found(tmp_path, LOOP + f"    {call}\n", EXAMPLES[0]) == []
    assert found(tmp_path, LOOP, "[tool.gradlint]\n") == []


def test_a_file_that_only_uses_the_wrapper_is_read(tmp_path: Path) -> None:
    source = "from mylib.loops import go\n\n\ndef run(batches):\n    opt = go.make()\n    go.over(opt)\n"
    model = '[tool.gradlint.models.names]\n"mylib.loops.go.make" = "optimizer"\n"mylib.loops.go.over(it)" = ["zero it", "step it"]'
    looped = source.replace("    go.over", "    for _ in batches:\n        go.push(opt.x)\n        go.over")
    pushing = model + '\n"mylib.loops.go.push(x)" = "backward x"'
    assert found(tmp_path, looped, pushing) == ["GL103:8"]
    assert found(tmp_path, source, model) == []


def test_a_model_overrules_the_source_that_is_in_sight(tmp_path: Path) -> None:
    (tmp_path / "mylib").mkdir()
    (tmp_path / "mylib" / "__init__.py").touch()
    learn = "def learn(loss, optimizer):\n    loss.backward()\n    optimizer.step()\n"
    (tmp_path / "mylib" / "train.py").write_text(learn, encoding="utf-8")
    source = LOOP.split("engine =")[0].replace("Engine", "learn")
    source += "for x, y in torch.randn(8, 2, 4, 2):\n    learn(torch.nn.functional.mse_loss(model(x), y), optimizer)\n"
    assert found(tmp_path, source, "[tool.gradlint]\n") == ["GL101:3"]
    assert found(tmp_path, source, '[tool.gradlint.models.names]\n"mylib.train.learn" = "unknown"\n') == []


def test_the_other_example_of_the_page_is_one(tmp_path: Path) -> None:
    source = LOOP.replace("mylib.train import Engine", "mylib.loops import fit_batch").split("engine =")[0]
    loss = "torch.nn.functional.mse_loss(model(x), y)"
    loop = source + f"for x, y in torch.randn(8, 2, 4, 2):\n    fit_batch(model, optimizer, {loss})\n"
    assert found(tmp_path, loop, EXAMPLES[1]) == []
    assert found(tmp_path, loop + "    optimizer.step()\n", EXAMPLES[1]) == ["GL109:8"]


def test_a_model_that_cannot_be_followed_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.gradlint.models.names]\n"mylib.Engine" = "optimiser"\n')
    with pytest.raises(SettingsError) as error:
        find_settings(tmp_path)
    file = tmp_path.resolve() / "pyproject.toml"
    assert str(error.value) == (
        f'{file}: `models` of [tool.gradlint]: `names."mylib.Engine"`: unknown word `optimiser`; did you mean `optimizer`?'
    )
