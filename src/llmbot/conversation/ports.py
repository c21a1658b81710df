"""What the conversation needs of the outside, as Protocols that the adapters fulfil.

The laws stand in the docstrings; `tests/contract` runs the same cases against every adapter.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from llmbot.conversation.messages import (
    ChannelMessage,
    CommandReply,
    CommandRequest,
    Inbound,
    InteractionRef,
    SessionCursor,
)

# ── the model ───────────────────────────────────────────────────────────────────────────────────


class Role(StrEnum):
    """Who speaks in a turn of the prompt."""

    USER = "user"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Blob:
    """A file for the model, its type sniffed from its bytes."""

    mime_type: str
    data: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the conversation, oldest first in a prompt."""

    role: Role
    text: str
    blobs: tuple[Blob, ...] = ()


@dataclass(frozen=True, slots=True)
class Prompt:
    """All that a model is asked: instructions, turns (the last is the user's), limits."""

    system: str
    turns: tuple[Turn, ...]
    output_tokens_max: int = 4096
    little_thinking: bool = False


@dataclass(frozen=True, slots=True)
class ModelDeadlines:
    """Patience with one model call, in seconds."""

    connect_s: float = 5.0
    first_words_s: float = 20.0
    between_words_s: float = 15.0
    whole_answer_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Words:
    """A piece of the answer, never empty."""

    text: str


class FinishReason(StrEnum):
    """How a complete stream ended; everything else is an error."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True, slots=True)
class Finish:
    """The last item of every stream that was not cut."""

    reason: FinishReason
    model: str
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_thought: int = 0


class Model(Protocol):
    """A large language model behind one provider.

    Laws of `stream`: zero or more `Words`, then exactly one `Finish`, then the end; or one typed
    error of `kernel.errors` (Model…Error) at any point, with `retry_after_s` where the provider
    named a wait. No hidden retries. A stream that ends without a finish reason raises
    `ModelStreamCutError`; one that finishes without a word raises `ModelEmptyError` for STOP, and
    ends with `Finish(LENGTH)` when the limit was used up; safety and recitation raise
    `ModelBlockedError`, also after words were given. Closing the generator (or cancelling its
    reader) closes the connection at once. Times out by `ModelDeadlines`, each with
    `ModelTimeoutError.stage`.
    """

    @property
    def provider(self) -> str:
        """Short name for logs and metrics: gemini, openai, ollama and so on."""
        ...

    @property
    def name(self) -> str:
        """The provider's name of the model."""
        ...

    def stream(self, prompt: Prompt, deadlines: ModelDeadlines) -> AsyncGenerator[Words | Finish]:
        """Ask; see the laws above."""
        ...


# ── Discord ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Sent:
    """A message of ours that stands in the channel; `content` is what Discord says it holds.

    After a repeat with the same nonce that may be what an earlier attempt sent.
    """

    id: int
    content: str


class DiscordRest(Protocol):
    """Discord's REST side.

    Laws: every call mentions nobody (`allowed_mentions` refuses everything); raises
    `DiscordUnavailableError`, `DiscordRateLimitedError` (transient, after the adapter's own bounded
    retries), `DiscordForbiddenError`, `DiscordNotFoundError` or `DiscordRequestRefusedError`. Every
    call ends within its deadline.
    """

    async def send(
        self, channel_id: int, content: str, *, nonce: str, reply_to: int | None = None
    ) -> Sent:
        """Send a message, at most once for this nonce while Discord remembers it.

        `reply_to` that is gone does not keep the message from being sent.
        """
        ...

    async def edit(self, channel_id: int, message_id: int, content: str) -> None:
        """Replace the text of a message of ours."""
        ...

    async def delete(self, channel_id: int, message_id: int) -> None:
        """Delete a message of ours; one that is gone already is no error."""
        ...

    async def typing(self, channel_id: int) -> None:
        """Show "is typing" for up to ten seconds, or until the next message of ours."""
        ...

    async def history(
        self,
        channel_id: int,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int = 50,
    ) -> list[ChannelMessage]:
        """Up to 100 messages, oldest first; `before` and `after` are exclusive."""
        ...

    async def message(self, channel_id: int, message_id: int) -> ChannelMessage | None:
        """One message, or None where it is gone."""
        ...

    async def direct(self, user_id: int) -> int:
        """The id of the channel for direct messages with a user."""
        ...

    def is_tight(self, channel_id: int, call: str) -> bool:
        """Whether a further `send` or `edit` in a channel would take what answers need.

        True also while Discord is unwell; returns at once and asks nobody.
        """
        ...

    async def edit_original(self, interaction: InteractionRef, content: str) -> Sent:
        """Answer a deferred command by replacing "is thinking"; may be repeated."""
        ...

    async def follow_up(self, interaction: InteractionRef, content: str) -> Sent:
        """Send a further message to a command; has no nonce."""
        ...

    async def edit_follow_up(
        self, interaction: InteractionRef, message_id: int, content: str
    ) -> None:
        """Replace the text of a further message to a command."""
        ...


@dataclass(frozen=True, slots=True)
class KnownChannel:
    """A channel or thread that the gateway told of; `last_message_id` is None where unknown.

    In a thread of ours people need not mention the bot; `own_role` is the server's role for it.
    """

    id: int
    guild_id: int | None
    last_message_id: int | None
    may_read: bool = True
    in_our_thread: bool = False
    own_role: int | None = None


class GatewayHandler(Protocol):
    """Who hears the gateway. The plain methods are called on the loop and return at once."""

    def on_message(self, inbound: Inbound, cursor: SessionCursor | None) -> None:
        """A message came; `cursor` is the place in the stream including it."""
        ...

    def on_message_seen(self, message: ChannelMessage) -> None:
        """Any message of a channel the bot reads, its own included; for recent history."""
        ...

    def on_message_edited(self, channel_id: int, message_id: int, content: str) -> None:
        """A message's text changed."""
        ...

    def on_message_deleted(self, channel_id: int, message_id: int) -> None:
        """A message is gone."""
        ...

    def on_session(
        self, *, resumed: bool, channels: Sequence[KnownChannel], session_id: str
    ) -> None:
        """The session is ready: new (what came meanwhile must be fetched) or resumed."""
        ...

    async def on_command(self, request: CommandRequest) -> CommandReply | None:
        """Answer a command within two seconds; None says the answer follows by the queue."""
        ...


class Presence(Protocol):
    """What the bot shows beside its name."""

    async def show(self, status: str, text: str) -> None:
        """Show online, idle or dnd with a short text; a lost connection is no error."""
        ...
