"""Where the parts of a reply go: a channel, or the answer to a slash command.

A sink numbers the parts from 0. Sending part 0 twice must not make two messages: in a channel the
nonce sees to that, for a command the edit of its original does. A command that can no longer be
answered in its place (its token has ended, or a kill kept it from being acknowledged) is answered
in the channel, which says so.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, TypeVar

from llmbot.conversation.jobs import Job
from llmbot.conversation.messages import Inbound, InteractionRef
from llmbot.conversation.notices import notice
from llmbot.conversation.ports import DiscordRest, Sent
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import DiscordNotFoundError, InteractionEndedError
from llmbot.kernel.ids import part_nonce

T = TypeVar("T")

INTERACTION_TOKEN_S = 15 * 60
"""How long a command may be answered. Source: Discord, "Receiving and Responding"."""

_TOKEN_MARGIN_S = 20.0
_HISTORY_PAGE = 100
_HISTORY_PAGES_MAX = 10


class Sink(Protocol):
    """Where the parts of one reply go."""

    channel_id: int
    preface: str
    """What stands before the answer; empty where it stands in its place."""

    async def send(self, part: int, text: str) -> Sent:
        """Send a part for the first time, or again after an unknown outcome."""
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

    async def find(self) -> list[Sent]:
        """What an earlier life sent for this question, in the order of its parts."""
        ...

    def is_tight(self) -> bool:
        """Whether what is left of Discord's limits should be kept for what must be said."""
        ...


class ChannelSink:
    """Replies in the channel of the question.

    Each part names the question it answers: readers of a busy channel see what belongs together,
    and after a crash every part can be found again by that reference.
    """

    def __init__(
        self, rest: DiscordRest, channel_id: int, question_id: int, preface: str = ""
    ) -> None:
        """Answer `question_id` in `channel_id`."""
        self._rest = rest
        self.channel_id = channel_id
        self.preface = preface
        self._question_id = question_id

    async def send(self, part: int, text: str) -> Sent:
        """See `Sink.send`."""
        nonce = part_nonce(self._question_id, part)
        return await self._rest.send(self.channel_id, text, nonce=nonce, reply_to=self._question_id)

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

    async def find(self) -> list[Sent]:
        """See `Sink.find`; looks at what came after the question, as far as people scroll."""
        found: list[Sent] = []
        after = self._question_id
        for _ in range(_HISTORY_PAGES_MAX):
            page = await self._rest.history(self.channel_id, after=after, limit=_HISTORY_PAGE)
            found += [
                Sent(message.id, message.content)
                for message in page
                if message.author_is_us and message.reply_to == self._question_id
            ]
            if len(page) < _HISTORY_PAGE:
                break
            after = page[-1].id
        return found

    def is_tight(self) -> bool:
        """See `Sink.is_tight`."""
        return self._rest.is_tight(self.channel_id, "edit")


class InteractionSink:
    """Answers a deferred slash command: its original is edited, further parts follow up.

    Follow-ups have no nonce: one whose outcome is unknown is looked for in the channel before it
    is sent again.
    """

    def __init__(self, rest: DiscordRest, channel_id: int, interaction: InteractionRef) -> None:
        """Answer `interaction`, whose "is thinking" stands in `channel_id`."""
        self._rest = rest
        self.channel_id = channel_id
        self.preface = ""
        self._interaction = interaction

    async def send(self, part: int, text: str) -> Sent:
        """See `Sink.send`."""
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

    async def find(self) -> list[Sent]:
        """See `Sink.find`: the token knows the original, the store kept the follow-ups' ids."""
        return []

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
        return InteractionSink(rest, inbound.channel_id, command)
    # No mention is expanded: this one shows a name and calls nobody.
    name = f"<@{inbound.author_id}>"
    words = "" if job.parts else notice("elsewhere", inbound.locale, name=name) + "\n\n"
    return ChannelSink(rest, inbound.channel_id, inbound.message_id, words)


async def _in_its_place(call: Awaitable[T]) -> T:
    """Raises: InteractionEndedError: there is nothing any more that could be answered there."""
    try:
        return await call
    except DiscordNotFoundError as gone:
        raise InteractionEndedError(str(gone), retry_after_s=0.0) from gone


__all__ = ["ChannelSink", "InteractionSink", "Sink", "open_sink"]
