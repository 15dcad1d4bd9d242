"""The models of frameworks: their form, and how names are looked up in them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import gradlint
from gradlint.models import Action, Meaning, ModelError, Models, built_in, built_in_kinds, read_model

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILES = sorted((Path(gradlint.__file__).parent / "models").glob("*.toml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_model_has_the_form(file: Path) -> None:
    table = tomllib.loads(file.read_text(encoding="utf-8"))
    words = {"stdlib", "builtins", "tensor"}
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
