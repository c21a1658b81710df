"""What the operator API tells of the settings that can be changed while the bot runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from llmbot.console.facts.facts import CAMEL

__all__ = ["ChangeableSetting", "ChangeableSettings"]


@dataclass(frozen=True, slots=True)
class ChangeableSetting:
    """One setting; never a secret, for those cannot be changed here."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    group: str
    what: str
    why: str
    """Reason for the default."""
    allowed: str
    unit: str
    value: str
    """In force now."""
    without_file: str
    """From the environment, `.env` or the default."""
    in_file: str | int | float | bool | None
    """As `settings.json` has it; None where it says nothing."""


@dataclass(frozen=True, slots=True)
class ChangeableSettings:
    """All of them by name."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    settings: dict[str, ChangeableSetting]
