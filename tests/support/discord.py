"""A Discord in memory that keeps the laws of `ports.DiscordRest`, with faults on request.

`tests/contract/test_discord_rest_port.py` runs the same cases against it and the real adapter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from llmbot.conversation.messages import ChannelMessage, InteractionRef
from llmbot.conversation.ports import Sent
from llmbot.kernel.errors import DiscordNotFoundError, LlmbotError

OUR_ID = 42


@dataclass(slots=True)
class MemoryDiscord:
    """Channels of messages; `fault` is asked before each call and may return an error to raise.

    An error from `late_fault` is raised after the call has had its effect: accepted, then lost.
    """

    channels: dict[int, list[ChannelMessage]] = field(default_factory=dict)
    edits: list[tuple[int, str]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    typed: list[int] = field(default_factory=list)
    nonces: dict[str, int] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    """What was sent, as it was edited last; also where it was deleted since."""
    commands: dict[int, int] = field(default_factory=dict)
    """In which channel a command was given, by its interaction; 0 where a test does not care."""
    originals: dict[int, int] = field(default_factory=dict)
    expired: set[int] = field(default_factory=set)
    """Interactions whose token has ended."""
    fault: Callable[[str], LlmbotError | None] = lambda _: None
    late_fault: Callable[[str], LlmbotError | None] = lambda _: None
    hold: Callable[[str, int], asyncio.Event | None] = lambda *_: None
    """Asked before history, send and edit with the call and its channel; its answer is awaited."""
    hidden: set[int] = field(default_factory=set)
    """Channels whose history may not be read: it is shown as empty."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    tight: bool = False
    next_id: int = 2_000_000_000_000_000_000

    def seed(self, message: ChannelMessage) -> None:
        """Put a message of somebody into its channel, in the place of one of its id."""
        messages = self.channels.setdefault(message.channel_id, [])
        messages[:] = [known for known in messages if known.id != message.id]
        messages.append(message)

    def ours(self, channel_id: int, reply_to: int | None = None) -> list[ChannelMessage]:
        """The bot's messages in a channel, or those that answer one message."""
        return [
            message
            for message in self.channels.get(channel_id, [])
            if message.author_is_us and reply_to in (None, message.reply_to)
        ]

    async def send(
        self, channel_id: int, content: str, *, nonce: str, reply_to: int | None = None
    ) -> Sent:
        """See `DiscordRest.send`."""
        self._begin("send")
        await self._held("send", channel_id)
        known = self.nonces.get(nonce)
        if known is not None:
            # Whether it was deleted since is not asked.
            return Sent(known, self.texts[known])
        self.next_id += 1
        message = ChannelMessage(
            self.next_id,
            channel_id,
            OUR_ID,
            "bot",
            content,
            True,
            True,
            reply_to,
            nonce,
            interaction_id=int(nonce[9:]) if nonce.startswith("original-") else None,
        )
        self.nonces[nonce] = message.id
        self.texts[message.id] = content
        self.seed(message)
        self._end("send")
        return Sent(message.id, content)

    async def edit(self, channel_id: int, message_id: int, content: str) -> None:
        """See `DiscordRest.edit`."""
        self._begin("edit")
        await self._held("edit", channel_id)
        message = self._find(channel_id, message_id)
        messages = self.channels[channel_id]
        messages[messages.index(message)] = replace(message, content=content)
        self.texts[message_id] = content
        self.edits.append((message_id, content))
        self._end("edit")

    async def delete(self, channel_id: int, message_id: int) -> None:
        """See `DiscordRest.delete`."""
        self._begin("delete")
        messages = self.channels.get(channel_id, [])
        messages[:] = [message for message in messages if message.id != message_id]
        self._end("delete")

    async def typing(self, channel_id: int) -> None:
        """See `DiscordRest.typing`."""
        self._begin("typing")
        self.typed.append(channel_id)
        self._end("typing")

    async def history(
        self,
        channel_id: int,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int = 50,
    ) -> list[ChannelMessage]:
        """See `DiscordRest.history`."""
        self._begin("history")
        await self._held("history", channel_id)
        found = sorted(self.channels.get(channel_id, []), key=lambda message: message.id)
        if channel_id in self.hidden:
            return []
        if after is not None:
            return [message for message in found if message.id > after][:limit]
        if before is not None:
            found = [message for message in found if message.id < before]
        return found[-limit:]

    async def message(self, channel_id: int, message_id: int) -> ChannelMessage | None:
        """See `DiscordRest.message`."""
        self._begin("message")
        found = self.channels.get(channel_id, [])
        return next((message for message in found if message.id == message_id), None)

    async def direct(self, user_id: int) -> int:
        """See `DiscordRest.direct`."""
        self._begin("direct")
        self._end("direct")
        return 10_000 + user_id

    def is_tight(self, channel_id: int, call: str) -> bool:
        """See `DiscordRest.is_tight`."""
        del channel_id, call
        return self.tight

    async def edit_original(self, interaction: InteractionRef, content: str) -> Sent:
        """See `DiscordRest.edit_original`; the original appears with its first text."""
        self._token(interaction)
        channel = self.commands.get(interaction.id, 0)
        sent = await self.send(channel, content, nonce=f"original-{interaction.id}")
        if sent.content != content:
            await self.edit(channel, sent.id, content)
        self.originals[interaction.id] = sent.id
        return Sent(sent.id, content)

    async def follow_up(self, interaction: InteractionRef, content: str) -> Sent:
        """See `DiscordRest.follow_up`; refers to the original, as Discord lets it."""
        self._token(interaction)
        return await self.send(
            self.commands.get(interaction.id, 0),
            content,
            nonce=f"follow-{interaction.id}-{self.next_id}",
            reply_to=self.originals.get(interaction.id),
        )

    async def edit_follow_up(
        self, interaction: InteractionRef, message_id: int, content: str
    ) -> None:
        """See `DiscordRest.edit_follow_up`."""
        self._token(interaction)
        await self.edit(self.commands.get(interaction.id, 0), message_id, content)

    def _token(self, interaction: InteractionRef) -> None:
        if interaction.id in self.expired:
            raise DiscordNotFoundError

    def _begin(self, call: str) -> None:
        self.calls.append(call)
        error = self.fault(call)
        if error is not None:
            raise error

    async def _held(self, call: str, channel_id: int) -> None:
        if (until := self.hold(call, channel_id)) is not None:
            await until.wait()

    def _end(self, call: str) -> None:
        self.changed.set()
        error = self.late_fault(call)
        if error is not None:
            raise error

    def _find(self, channel_id: int, message_id: int) -> ChannelMessage:
        for message in self.channels.get(channel_id, []):
            if message.id == message_id:
                return message
        raise DiscordNotFoundError
