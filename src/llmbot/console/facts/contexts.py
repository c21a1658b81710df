"""What the operator API tells of long texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from llmbot.console.facts.facts import CAMEL

__all__ = ["ContextState", "ContextsFacts"]


@dataclass(frozen=True, slots=True)
class ContextState:
    """One long text that is being read, or waits for it."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    state: str
    """waiting, reading or resting."""
    parts: int
    read: int
    failed: int


@dataclass(frozen=True, slots=True)
class ContextsFacts:
    """All of them, and what they take."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    allowed: bool
    """Whether neither overload nor maintenance holds long texts back."""
    jobs: dict[str, ContextState]
    """By the message that asks."""
    reading_max: int
    line_max: int
    failed_chunks: int
    """Parts that failed, also those of answers given without them within the last hour."""
    folders: int
    bytes: int
    bytes_max: int
    disk_free: int
    problem: str
    """Why TEMP_DIR cannot be used; empty where it can."""
