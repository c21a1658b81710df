"""What the operator's side shows of figures, single messages and the audit; see `facts.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import ConfigDict

from llmbot.console.facts.facts import CAMEL, CircuitFacts, QueueState, QuotaFacts, Spread


@dataclass(frozen=True, slots=True)
class ModelMetrics:
    """The calls to one model."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    calls: int
    errors: int
    calls_total: int
    errors_total: int
    errors_by_class: dict[str, int]
    first_words: Spread
    duration: Spread
    tokens_in: int
    tokens_out: int
    tokens_in_total: int
    tokens_out_total: int
    breaker: str
    quota: dict[str, QuotaFacts]


@dataclass(frozen=True, slots=True)
class ProviderMetrics:
    """The calls to one provider."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    provider: str
    window_seconds: int
    calls_total: int
    errors_total: int
    errors_by_class: dict[str, int]
    tokens_in_total: int
    tokens_out_total: int
    models: dict[str, ModelMetrics]
    breaker: CircuitFacts | None


@dataclass(frozen=True, slots=True)
class DiscordMetrics:
    """Gateway and REST of Discord."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    gateway: dict[str, object]
    rest: dict[str, int]
    """Counts since the start."""
    window_seconds: int
    calls: int
    errors: int
    errors_by_class: dict[str, int]
    latency: Spread
    """Of the REST calls in the window, like the three before it."""
    commands: dict[str, dict[str, int]]
    """How often each command ended how."""
    duplicates: dict[str, int]
    breaker: CircuitFacts | None


@dataclass(frozen=True, slots=True)
class QueueMetrics:
    """The queue with its figures over the window."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    queue: QueueState
    window_seconds: int
    received: int
    answered: int
    noticed: int
    failed_attempts: int
    errors_by_class: dict[str, int]
    wait: Spread
    """How long messages waited for their turn."""


@dataclass(frozen=True, slots=True)
class StoryFacts:
    """One line of a message's story."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    at: str
    fact: str
    detail: str


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """All that is known of one message; its words only where a setting lets operators see them."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    message_id: str
    state: str
    channel_id: str
    source: str
    priority: str
    attempts: int
    created_at: str
    parts: list[str]
    """Discord's ids of the parts of the reply."""
    story: list[StoryFacts]
    texts: list[str] = field(default_factory=list)
    """The question, then the parts of the reply, as they stand on Discord now."""
    texts_hidden: str = ""
    """Why there are none."""
