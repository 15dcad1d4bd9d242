"""What one rule says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from gradlint.data import dataclass


@dataclass(frozen=True, slots=True)
class Wording:
    """What a rule says: the message, the text beside each related place, and the way out.

    A wording names its subject in braces (`{subject}` is the user's own name for it, such as
    `optimizer`); `roles` says in a few words what happened at each place that a state remembers.
    """

    message: str
    help: str
    roles: Mapping[str, str] = field(default_factory=dict)
