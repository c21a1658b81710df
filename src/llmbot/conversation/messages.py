"""What Discord tells the conversation: messages, attachments, commands, the session's place."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from llmbot.kernel.ids import snowflake_time


class Source(StrEnum):
    """By which road a message came."""

    LIVE = "live"
    REPLAYED = "replayed"
    BACKFILLED = "backfilled"
    INTERACTION = "interaction"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that a user sent along; what the user claims of it is not believed."""

    id: int
    filename: str
    url: str
    size_bytes: int
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class ChannelMessage:
    """A message as it stands in a channel; for context, the reply chain and look-ups.

    `replies_to_us` is None where it was not told whose message this replies to; `interaction_id` is
    the command's that it is the first answer to.
    """

    id: int
    channel_id: int
    author_id: int
    author_name: str
    content: str
    author_is_bot: bool = False
    author_is_us: bool = False
    reply_to: int | None = None
    nonce: str = ""
    attachments: tuple[Attachment, ...] = ()
    replies_to_us: bool | None = None
    interaction_id: int | None = None

    @property
    def created_s(self) -> float:
        """When it was written, in seconds since the Unix epoch."""
        return snowflake_time(self.id)


@dataclass(frozen=True, slots=True)
class InteractionRef:
    """How to answer a slash command; the token is valid for 15 minutes and is a secret."""

    id: int
    application_id: int
    token: str = field(repr=False)


class LongTask(StrEnum):
    """What is asked of a text too long for one prompt."""

    SUMMARIZE = "summarize"
    ANALYZE = "analyze"


@dataclass(frozen=True, slots=True)
class LongRequest:
    """A command over much text: over its attached file, or over the history of `channel_id`.

    `since_s` is the age in seconds up to which messages count; 0 for all.
    """

    task: LongTask
    channel_id: int | None = None
    since_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message that may be meant for the bot; admission decides.

    `message_id` is the interaction's id for a slash command. `mentions_us` is true for a mention
    of the bot's user or of its own role. `replies_to_us` is None where the edge cannot tell.
    `role_ids` are the author's in this server, `parent_id` is the channel of a thread; both are
    empty where the edge cannot tell. `long` is what a command asks over a file or a history.
    """

    message_id: int
    channel_id: int
    guild_id: int | None
    author_id: int
    author_name: str
    content: str
    source: Source = Source.LIVE
    author_is_bot: bool = False
    is_direct: bool = False
    is_thread: bool = False
    in_our_thread: bool = False
    mentions_us: bool = False
    mentions_others: bool = False
    reply_to: int | None = None
    replies_to_us: bool | None = None
    referenced: ChannelMessage | None = None
    attachments: tuple[Attachment, ...] = ()
    may_speak: bool = True
    locale: str = ""
    interaction: InteractionRef | None = None
    role_ids: tuple[int, ...] = ()
    parent_id: int | None = None
    long: LongRequest | None = None

    @property
    def created_s(self) -> float:
        """When it was written, in seconds since the Unix epoch."""
        return snowflake_time(self.message_id)


@dataclass(frozen=True, slots=True)
class SessionCursor:
    """The place in the gateway's stream of events up to which everything is stored durably."""

    session_id: str = field(repr=False)
    sequence: int
    resume_url: str


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """A slash command as a user gave it.

    `readable` are the channels it names, and where it was given, whose history the user may read,
    as Discord tells with the command.
    """

    name: str
    user_id: int
    user_name: str
    channel_id: int
    guild_id: int | None
    options: dict[str, str]
    interaction: InteractionRef
    attachments: tuple[Attachment, ...] = ()
    locale: str = ""
    may_manage: bool = False
    role_ids: tuple[int, ...] = ()
    parent_id: int | None = None
    readable: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class CommandReply:
    """The immediate answer to a command; `private` shows it only to who asked.

    `more` follows in further messages, always in private.
    """

    text: str
    private: bool = True
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CommandOption:
    """One option of a slash command; `kind` is string, attachment or channel.

    Where there are `choices`, Discord lets users choose one of them and nothing else.
    """

    name: str
    description: str
    kind: str = "string"
    required: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CommandDefinition:
    """A slash command as it is registered at Discord.

    `deferred` shows "is thinking" at once, before the handler is asked: for commands whose answer
    comes by the queue, so that no disk can use up Discord's three seconds. `for_managers` shows the
    command to those who may manage the server; the handler still has to check.
    """

    name: str
    description: str
    options: tuple[CommandOption, ...] = ()
    deferred: bool = False
    for_managers: bool = False
