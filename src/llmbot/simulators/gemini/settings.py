"""What a simulated Gemini is told at its start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Served by the live API in November 2026; the 2.5 family leaves on 1 December 2026.
DEFAULT_MODELS: tuple[str, ...] = (
    "gemini-3.8-flash",
    "gemini-3.6-flash",
    "gemini-3.5-flash-lite",
    "gemini-3.1-flash-lite",
    "gemini-2.5-pro",
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
)


@dataclass(frozen=True, slots=True)
class Quota:
    """What one model grants one project; None grants without end.

    `rpm` requests and `tpm` input tokens within any 60 seconds, `rpd` requests within one day of
    the Pacific time zone, as https://ai.google.dev/gemini-api/docs/rate-limits has it.
    """

    rpm: int | None = None
    rpd: int | None = None
    tpm: int | None = None


@dataclass(frozen=True, slots=True)
class GeminiSettings:
    """The frozen settings of one simulated Gemini.

    `first_word_s` and `chunk_s` are the seconds before the first chunk and between chunks; 0 for
    both makes every answer instant. `api_keys` empty accepts any key that does not begin with
    "invalid". `log_limit` is how many requests the log for tests keeps.
    """

    seed: int = 0
    first_word_s: float = 0.4
    chunk_s: float = 0.1
    models: tuple[str, ...] = DEFAULT_MODELS
    api_keys: frozenset[str] = frozenset()
    quotas: Mapping[str, Quota] = field(default_factory=dict)
    log_limit: int = 256

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant."""
        if self.first_word_s < 0 or self.chunk_s < 0:
            raise ValueError("first_word_s and chunk_s must be 0 or more")
        if self.log_limit < 1:
            raise ValueError("log_limit must be at least 1")
