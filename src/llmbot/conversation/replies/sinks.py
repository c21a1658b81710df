"""Where the parts of a reply go: a channel, or the answer to a slash command.

A sink numbers the parts from 0. Sending part 0 twice must not make two messages: in a channel the
nonce sees to that, for a command the edit of its original does. A command that can no longer be
answered in its place (its token has ended, or a kill kept it from being acknowledged) is answered
in the channel, which says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from llmbot.conversation.jobs import Job
from llmbot.conversation.messages import ChannelMessage, Inbound, InteractionRef
from llmbot.conversation.ports import DiscordRest, Sent
from llmbot.conversation.text.notices import notice
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import DiscordNotFoundError, InteractionEndedError, RefusedError
from llmbot.kernel.ids import part_nonce

T = TypeVar("T")

INTERACTION_TOKEN_S = 15 * 60
"""How long a command may be answered. Source: Discord, "Receiving and Responding"."""

_TOKEN_MARGIN_S = 20.0
_HISTORY_PAGE = 100
_HISTORY_PAGES_MAX = 10


@dataclass(frozen=True, slots=True)
class Found:
    """What stands in a channel: of an answer its parts in their order, and its question.

    `question` is None where none was seen; `taken_back` says that Discord has it no more.
    """

    parts: list[Sent]
    question: ChannelMessage | None = None
    taken_back: bool = False


class Sink(Protocol):
    """Where the parts of one reply go."""

    channel_id: int
    preface: str
    """What stands before the answer; empty where it stands in its place."""

    async def send(self, part: int, text: str, *, instead_of: int = 0) -> Sent:
        """Send a part for the first time, or again after an unknown outcome.

        `instead_of` is the message that was deleted there last, if any: this makes a new one.
        """
        ...

    async def edit(self, part: int, discord_id: int, text: str) -> None:
        """Replace the text of a part."""
        ...

    async def delete(self, discord_id: int) -> None:
        """Take back a part that is not needed."""
        ...

    async def typing(self) -> None:
        """Show that an answer is being written."""
        ...

    async def find(self) -> Found:
        """What an earlier life sent for this question, and what its author made of that."""
        ...

    def is_tight(self) -> bool:
        """Whether what is left of Discord's limits should be kept for what must be said."""
        ...


class ChannelSink:
    """Replies in the channel of the question.

    Each part names the question it answers: readers of a busy channel see what belongs together,
    and after a crash every part can be found again by that reference. A command is no message that
    can be referred to: its first part begins with `preface`, and the others refer to that part.
    """

    def __init__(
        self,
        rest: DiscordRest,
        channel_id: int,
        question_id: int,
        *,
        preface: str = "",
        first_id: int | None = None,
    ) -> None:
        """Answer `question_id` in `channel_id`; `first_id` is the first part's, if it stands."""
        self._rest = rest
        self.channel_id = channel_id
        self.preface = preface
        self._question_id = question_id
        self._first_id = first_id

    async def send(self, part: int, text: str, *, instead_of: int = 0) -> Sent:
        """See `Sink.send`."""
        nonce = part_nonce(self._question_id, part, instead_of)
        to: int | None = self._question_id
        if self.preface:
            to = None if part == 0 else self._first_id
        sent = await self._rest.send(self.channel_id, text, nonce=nonce, reply_to=to)
        if part == 0:
            self._first_id = sent.id
        return sent

    async def edit(self, part: int, discord_id: int, text: str) -> None:
        """See `Sink.edit`."""
        del part
        await self._rest.edit(self.channel_id, discord_id, text)

    async def delete(self, discord_id: int) -> None:
        """See `Sink.delete`."""
        await self._rest.delete(self.channel_id, discord_id)

    async def typing(self) -> None:
        """See `Sink.typing`."""
        await self._rest.typing(self.channel_id)

    async def find(self) -> Found:
        """See `Sink.find`; a question that was not seen is asked for by its id.

        Whoever may not read a channel's history is shown an empty one. Source: Discord API
        reference, "Get Channel Messages".
        """
        found = await _find(self._rest, self.channel_id, self._question_id, self._is_part)
        if self.preface or found.question is not None:
            return found
        try:
            question = await self._rest.message(self.channel_id, self._question_id)
        except RefusedError:
            return found
        return Found(found.parts, question, taken_back=question is None)

    def _is_part(self, message: ChannelMessage) -> bool:
        if not self.preface:
            return message.reply_to == self._question_id
        if message.content.startswith(self.preface.rstrip()):
            self._first_id = message.id
            return True
        return self._first_id is not None and message.reply_to == self._first_id

    def is_tight(self) -> bool:
        """See `Sink.is_tight`."""
        return self._rest.is_tight(self.channel_id, "edit")


class InteractionSink:
    """Answers a deferred slash command: its original is edited, further parts follow up.

    Follow-ups have no nonce, but refer to the original: one whose outcome is unknown is looked for
    in the channel before it is sent again.
    """

    def __init__(self, rest: DiscordRest, job: Job, interaction: InteractionRef) -> None:
        """Answer the `interaction` of `job`, whose "is thinking" stands in its channel."""
        self._rest = rest
        self._job = job
        self.channel_id = job.inbound.channel_id
        self.preface = ""
        self._interaction = interaction

    async def send(self, part: int, text: str, *, instead_of: int = 0) -> Sent:
        """See `Sink.send`."""
        del instead_of
        if part == 0:
            return await _in_its_place(self._rest.edit_original(self._interaction, text))
        return await _in_its_place(self._rest.follow_up(self._interaction, text))

    async def edit(self, part: int, discord_id: int, text: str) -> None:
        """See `Sink.edit`."""
        if part == 0:
            await _in_its_place(self._rest.edit_original(self._interaction, text))
        else:
            edit = self._rest.edit_follow_up(self._interaction, discord_id, text)
            await _in_its_place(edit)

    async def delete(self, discord_id: int) -> None:
        """See `Sink.delete`."""
        await self._rest.delete(self.channel_id, discord_id)

    async def typing(self) -> None:
        """See `Sink.typing`: a deferred command shows "is thinking" by itself."""

    async def find(self) -> Found:
        """See `Sink.find`: the original names its command, and the follow-ups refer to it."""
        known = {part.discord_id for part in self._job.parts}

        def is_part(message: ChannelMessage) -> bool:
            if message.interaction_id == self._interaction.id or message.reply_to in known:
                known.add(message.id)
            return message.id in known

        return await _find(self._rest, self.channel_id, self._job.message_id, is_part)

    def is_tight(self) -> bool:
        """See `Sink.is_tight`: commands have limits of their own."""
        return False


def open_sink(rest: DiscordRest, job: Job, clock: Clock) -> Sink:
    """The sink for a job: the command's answer while its token lives, else the channel."""
    inbound: Inbound = job.inbound
    command = inbound.interaction
    if command is None:
        return ChannelSink(rest, inbound.channel_id, inbound.message_id)
    age_s = clock.wall() - inbound.created_s
    if command.token and age_s < INTERACTION_TOKEN_S - _TOKEN_MARGIN_S:
        return InteractionSink(rest, job, command)
    first_id = job.parts[0].discord_id if job.parts else None
    preface = preface_of(inbound)
    return ChannelSink(
        rest, inbound.channel_id, inbound.message_id, preface=preface, first_id=first_id
    )


def preface_of(inbound: Inbound) -> str:
    """What an answer to a command begins with where it stands in the channel.

    It names the command, so that a later life finds it by that.
    """
    # No mention is expanded: this one shows a name and calls nobody.
    name, number = f"<@{inbound.author_id}>", str(inbound.message_id)
    return notice("elsewhere", inbound.locale, name=name, reason=number) + "\n\n"


async def _find(
    rest: DiscordRest, channel_id: int, question_id: int, is_part: Callable[[ChannelMessage], bool]
) -> Found:
    """From the question on, as far as people scroll."""
    parts: list[Sent] = []
    question, after = None, question_id - 1
    for _ in range(_HISTORY_PAGES_MAX):
        page = await rest.history(channel_id, after=after, limit=_HISTORY_PAGE)
        question = next((m for m in page if m.id == question_id), question)
        parts += [Sent(m.id, m.content) for m in page if m.author_is_us and is_part(m)]
        if len(page) < _HISTORY_PAGE:
            break
        after = page[-1].id
    return Found(parts, question)


async def _in_its_place(call: Awaitable[T]) -> T:
    """Raises: InteractionEndedError: there is nothing any more that could be answered there."""
    try:
        return await call
    except DiscordNotFoundError as gone:
        raise InteractionEndedError(str(gone), retry_after_s=0.0) from gone


__all__ = ["ChannelSink", "Found", "InteractionSink", "Sink", "open_sink", "preface_of"]
