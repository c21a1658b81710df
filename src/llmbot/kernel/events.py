"""Facts, published once: the single source for logs, metrics, audit, dashboard and tests.

An event is a frozen dataclass that says what happened, never what should. It holds ids, counts and
codes, no user text and no secret, so that every reader may keep it. `describe()` is its one log
line; operators grep for some of these words, so they are part of the contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from llmbot.kernel.bus import Event, EventBus, Level, Published, Subscriber

__all__ = [
    "BackfillDone",
    "BreakerChanged",
    "ChannelSetAside",
    "CommandExecuted",
    "DuplicateMessage",
    "Event",
    "EventBus",
    "GatewayChanged",
    "JobFailed",
    "JobMoved",
    "Level",
    "LooseSetting",
    "MessageAccepted",
    "ModelAnswered",
    "ModelFailed",
    "Noted",
    "Published",
    "ReplyDelivered",
    "ServiceChanged",
    "Subscriber",
    "TaskDied",
    "WorkRecovered",
]

# ── conversation ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class MessageAccepted:
    """A message was claimed durably and queued."""

    level: ClassVar[Level] = Level.INFO
    message_id: int
    channel_id: int
    guild_id: int | None
    source: str

    def describe(self) -> str:
        """See `Event.describe`."""
        return f"Message {self.message_id} accepted from channel {self.channel_id} ({self.source})"


@dataclass(frozen=True, slots=True)
class DuplicateMessage:
    """A message came again and was dropped."""

    level: ClassVar[Level] = Level.INFO
    message_id: int
    source: str
    stopped_by: str

    def describe(self) -> str:
        """See `Event.describe`."""
        return f"Duplicate message {self.message_id} dropped ({self.source}, {self.stopped_by})"


@dataclass(frozen=True, slots=True)
class JobMoved:
    """A queued message went from one state to another."""

    level: ClassVar[Level] = Level.DEBUG
    message_id: int
    before: str
    after: str
    reason: str

    def describe(self) -> str:
        """See `Event.describe`."""
        return f"Message {self.message_id}: {self.before} -> {self.after} ({self.reason})"


@dataclass(frozen=True, slots=True)
class ModelAnswered:
    """A model call ended well."""

    level: ClassVar[Level] = Level.INFO
    message_id: int
    provider: str
    model: str
    finish: str
    first_words_ms: int
    duration_ms: int
    tokens_in: int
    tokens_out: int

    def describe(self) -> str:
        """See `Event.describe`."""
        name = self.provider.capitalize()
        return (
            f"{name} {self.model} response for message {self.message_id}: {self.finish}, "
            f"{self.tokens_out} tokens in {self.duration_ms} ms"
        )


@dataclass(frozen=True, slots=True)
class ModelFailed:
    """A model call failed."""

    level: ClassVar[Level] = Level.WARNING
    message_id: int
    provider: str
    model: str
    code: str
    attempt: int
    duration_ms: int
    detail: str

    def describe(self) -> str:
        """See `Event.describe`."""
        return (
            f"{self.provider.capitalize()} {self.model} error for message {self.message_id}: "
            f"{self.code}: {self.detail}"
        )


@dataclass(frozen=True, slots=True)
class ReplyDelivered:
    """The last part of a reply landed."""

    level: ClassVar[Level] = Level.INFO
    message_id: int
    channel_id: int
    parts: int
    edits: int
    outcome: str
    total_ms: int
    queue_ms: int
    context_ms: int
    model_ms: int
    delivery_ms: int

    def describe(self) -> str:
        """See `Event.describe`."""
        return (
            f"Reply to message {self.message_id} delivered: {self.outcome}, {self.parts} part(s), "
            f"{self.total_ms} ms"
        )


@dataclass(frozen=True, slots=True)
class JobFailed:
    """An attempt at a message failed; it is tried again, told to the user, or set aside."""

    level: ClassVar[Level] = Level.WARNING
    message_id: int
    code: str
    blame: str
    attempt: int
    next_step: str
    detail: str

    def describe(self) -> str:
        """See `Event.describe`."""
        return (
            f"Attempt {self.attempt} at message {self.message_id} failed ({self.code}, "
            f"{self.blame}): {self.detail}; {self.next_step}"
        )


@dataclass(frozen=True, slots=True)
class CommandExecuted:
    """A slash command was answered."""

    level: ClassVar[Level] = Level.INFO
    command: str
    outcome: str
    duration_ms: int

    def describe(self) -> str:
        """See `Event.describe`."""
        return f"Command {self.command} executed: {self.outcome} in {self.duration_ms} ms"


@dataclass(frozen=True, slots=True)
class WorkRecovered:
    """Unfinished work of an earlier life of the process was taken up."""

    level: ClassVar[Level] = Level.WARNING
    jobs: int
    part_sent: int
    unclean: bool

    def describe(self) -> str:
        """See `Event.describe`."""
        how = "an unclean end" if self.unclean else "the last stop"
        return f"Took up {self.jobs} unfinished message(s) after {how}, {self.part_sent} half sent"


# ── edges ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class GatewayChanged:
    """The connection to Discord's gateway changed."""

    level: ClassVar[Level] = Level.INFO
    state: str
    detail: str

    def describe(self) -> str:
        """See `Event.describe`."""
        return f"Discord gateway: {self.state} ({self.detail})"


@dataclass(frozen=True, slots=True)
class BackfillDone:
    """Messages sent while the bot was away were looked for."""

    level: ClassVar[Level] = Level.INFO
    channels: int
    found: int
    calls: int
    complete: bool

    def describe(self) -> str:
        """See `Event.describe`."""
        end = "complete" if self.complete else "cut short by its limits"
        return (
            f"Back-fill of {self.channels} channel(s): {self.found} message(s) found, "
            f"{self.calls} call(s), {end}"
        )


@dataclass(frozen=True, slots=True)
class BreakerChanged:
    """A circuit breaker changed its state."""

    level: ClassVar[Level] = Level.WARNING
    name: str
    before: str
    after: str
    reason: str

    def describe(self) -> str:
        """See `Event.describe`."""
        return f"Circuit breaker {self.name}: {self.before} → {self.after} ({self.reason})"


@dataclass(frozen=True, slots=True)
class ChannelSetAside:
    """The bot may not speak in a channel and leaves it alone."""

    level: ClassVar[Level] = Level.WARNING
    channel_id: int
    code: str
    reason: str

    def describe(self) -> str:
        """See `Event.describe`."""
        return f"Channel {self.channel_id} set aside: {self.reason} ({self.code})"


# ── the house ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ServiceChanged:
    """A service went from one state of its life to another."""

    level: ClassVar[Level] = Level.INFO
    service: str
    state: str
    detail: str

    def describe(self) -> str:
        """See `Event.describe`."""
        return f"Service {self.service}: {self.state}" + (
            f" ({self.detail})" if self.detail else ""
        )


@dataclass(frozen=True, slots=True)
class TaskDied:
    """A background task ended though it should have gone on."""

    level: ClassVar[Level] = Level.ERROR
    task: str
    error: str
    restart_in_s: float | None

    def describe(self) -> str:
        """See `Event.describe`."""
        then = "not restarted" if self.restart_in_s is None else f"again in {self.restart_in_s:g} s"
        return f"Task {self.task} died: {self.error}; {then}"


@dataclass(frozen=True, slots=True)
class LooseSetting:
    """A setting weakens a default of security or durability; said at every start."""

    level: ClassVar[Level] = Level.WARNING
    setting: str
    effect: str

    def describe(self) -> str:
        """See `Event.describe`."""
        return f"{self.setting} loosens a default: {self.effect}"


@dataclass(frozen=True, slots=True)
class Noted:
    """Something worth a log line that no other part of the bot acts upon."""

    level: ClassVar[Level] = Level.INFO
    topic: str
    detail: str

    def describe(self) -> str:
        """See `Event.describe`."""
        return f"{self.topic}: {self.detail}"
