"""Random data in the form that programs would download: `python data.py NAME FOLDER`."""

from __future__ import annotations

import json
import pickle
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

_WORDS = [
    "the",
    "a",
    "of",
    "loss",
    "grad",
    "step",
    "zero",
    "model",
    "train",
    "eval",
    "data",
    "epoch",
    "batch",
    "with",
    "and",
    "is",
    "not",
    "into",
    "over",
    "under",
    "again",
]
_UNET = {
    "_class_name": "UNet2DModel",
    "sample_size": 16,
    "in_channels": 3,
    "out_channels": 3,
    "layers_per_block": 1,
    "block_out_channels": [8, 8],
    "norm_num_groups": 4,
    "down_block_types": ["DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D"],
}
_PAIRS = """---
configs:
- config_name: mrpc
  data_files:
  - split: train
    path: train.jsonl
  - split: validation
    path: validation.jsonl
---
"""


def text(folder: Path) -> None:
    """Sentences of a few words, in three files."""
    (folder / "data/tiny").mkdir(parents=True)
    for name, lines in (("train", 300), ("valid", 40), ("test", 40)):
        sentences = (_sentence() for _ in range(lines))
        (folder / f"data/tiny/{name}.txt").write_text("\n".join(sentences) + "\n", encoding="utf-8")


def tokens(folder: Path) -> None:
    """Two files of 16-bit tokens, and how many there are."""
    (folder / "data/tiny").mkdir(parents=True)
    numbers = np.random.default_rng(0)
    for name, length in (("train", 20_000), ("val", 4_000)):
        numbers.integers(0, 64, length, dtype=np.uint16).tofile(folder / f"data/tiny/{name}.bin")
    (folder / "data/tiny/meta.pkl").write_bytes(pickle.dumps({"vocab_size": 64}))


def sines(folder: Path) -> None:
    """Ten sine waves of sixty values."""
    shifts = np.random.default_rng(0).integers(-16, 16, (10, 1))
    torch.save(np.sin((np.arange(60) + shifts) / 4.0), folder / "traindata.pt")


def citations(folder: Path) -> None:
    """300 papers with 100 words, in seven classes, and who cites whom."""
    (folder / "cora").mkdir()
    papers = range(1000, 1300)
    rows = ("\t".join([str(each), *random.choices("01", (9, 1), k=100), f"c{each % 7}"]) for each in papers)
    (folder / "cora/cora.content").write_text("\n".join(rows) + "\n", encoding="utf-8")
    pairs = (f"{random.choice(papers)}\t{random.choice(papers)}" for _ in range(900))
    (folder / "cora/cora.cites").write_text("\n".join(pairs) + "\n", encoding="utf-8")


def images(folder: Path) -> None:
    """A folder of small images, and the shape of a network for them."""
    from PIL import Image

    (folder / "unet").mkdir()
    (folder / "unet/config.json").write_text(json.dumps(_UNET), encoding="utf-8")
    (folder / "images").mkdir()
    numbers = np.random.default_rng(0)
    for index in range(32):
        Image.fromarray(numbers.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"images/{index}.png")


def classification(folder: Path) -> None:
    """Pairs of sentences and a tiny BERT, under the names that the Hub gives them."""
    from transformers import BertConfig, BertForSequenceClassification

    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder / "bert-base-cased")
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(
        folder / "bert-base-cased"
    )
    glue = folder / "nyu-mll/glue"
    glue.mkdir(parents=True)
    (glue / "README.md").write_text(_PAIRS, encoding="utf-8")
    for name, number in (("train", 200), ("validation", 40)):
        rows = (
            {"idx": index, "label": index % 2, "sentence1": _sentence(), "sentence2": _sentence()}
            for index in range(number)
        )
        (glue / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def generation(folder: Path) -> None:
    """Texts, and a tiny GPT."""
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder / "model")
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=32, n_embd=16, n_layer=2, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(folder / "model")
    (folder / "texts").mkdir()
    rows = ({"text": _sentence()} for _ in range(200))
    (folder / "texts/train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def _sentence() -> str:
    return " ".join(random.choices(_WORDS, k=10))


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    marks = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "[BOS]", "eos_token": "[EOS]"}
    words = {word: index for index, word in enumerate([*marks.values(), *_WORDS])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **marks)


_MAKERS: dict[str, Callable[[Path], None]] = {
    each.__name__: each for each in (text, tokens, sines, citations, images, classification, generation)
}

if __name__ == "__main__":
    random.seed(0)
    torch.manual_seed(0)
    _MAKERS[sys.argv[1]](Path(sys.argv[2]))
