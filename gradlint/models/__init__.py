"""What the names of libraries mean to a training loop: `*.toml`, one file per framework, and the form that they have.

It knows words, not code: neither Python's syntax nor events.
"""

from __future__ import annotations

from gradlint.models.form import NO_MODEL, Action, KindModel, Meaning, Model, ModelError, read_model
from gradlint.models.index import Models, built_in, built_in_kinds, described_packages, made_by, models_with, words

__all__ = [
    "NO_MODEL",
    "Action",
    "KindModel",
    "Meaning",
    "Model",
    "ModelError",
    "Models",
    "built_in",
    "built_in_kinds",
    "described_packages",
    "made_by",
    "models_with",
    "read_model",
    "words",
]
