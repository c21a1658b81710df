"""A Discord that exists only in this process: where the replies to test messages go.

It keeps the laws of `conversation.ports.DiscordRest` for what it holds, so that the pipeline above
it does all that it does for people.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from llmbot.conversation.messages import ChannelMessage, InteractionRef
from llmbot.conversation.ports import Sent
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import DiscordNotFoundError
from llmbot.kernel.ids import snowflake_at

__all__ = ["LoopbackDiscord"]

MESSAGES_MAX = 2000
OUR_ID = 1


class LoopbackDiscord:
    """Holds the newest replies in memory and answers for them."""

    def __init__(self, clock: Clock) -> None:
        """Nothing was said yet."""
        self._clock = clock
        self._messages: OrderedDict[int, ChannelMessage] = OrderedDict()
        self._by_nonce: OrderedDict[str, int] = OrderedDict()
        self._originals: OrderedDict[int, int] = OrderedDict()
        self._last_id = 0

    def replies_to(self, question_id: int) -> str:
        """What was answered to a question, its parts joined by line breaks."""
        parts = [m.content for m in self._messages.values() if m.reply_to == question_id]
        return "\n".join(parts)

    def forget(self, question_id: int) -> None:
        """Drop what was answered to a question."""
        for message in [m for m in self._messages.values() if m.reply_to == question_id]:
            del self._messages[message.id]

    # ── conversation.ports.DiscordRest ──────────────────────────────────────────────────────────

    async def send(
        self, channel_id: int, content: str, *, nonce: str, reply_to: int | None = None
    ) -> Sent:
        """See `DiscordRest.send`."""
        known = self._messages.get(self._by_nonce.get(nonce, 0))
        if known is not None:
            return Sent(known.id, known.content)
        sent = self._keep(channel_id, content, reply_to)
        self._by_nonce[nonce] = sent.id
        if len(self._by_nonce) > MESSAGES_MAX:
            self._by_nonce.popitem(last=False)
        return sent

    async def edit(self, channel_id: int, message_id: int, content: str) -> None:
        """See `DiscordRest.edit`."""
        message = self._messages.get(message_id)
        if message is None:
            raise DiscordNotFoundError
        del channel_id
        self._messages[message_id] = replace(message, content=content)

    async def delete(self, channel_id: int, message_id: int) -> None:
        """See `DiscordRest.delete`."""
        del channel_id
        self._messages.pop(message_id, None)

    async def typing(self, channel_id: int) -> None:
        """See `DiscordRest.typing`; nobody is there to see it."""

    async def history(
        self,
        channel_id: int,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int = 50,
    ) -> list[ChannelMessage]:
        """See `DiscordRest.history`."""
        found = [
            message
            for message in self._messages.values()
            if message.channel_id == channel_id
            and (before is None or message.id < before)
            and (after is None or message.id > after)
        ]
        return found[:limit] if after is not None else found[-limit:]

    async def message(self, channel_id: int, message_id: int) -> ChannelMessage | None:
        """See `DiscordRest.message`."""
        del channel_id
        return self._messages.get(message_id)

    async def edit_original(self, interaction: InteractionRef, content: str) -> Sent:
        """See `DiscordRest.edit_original`."""
        known = self._messages.get(self._originals.get(interaction.id, 0))
        if known is not None:
            self._messages[known.id] = replace(known, content=content)
            return Sent(known.id, content)
        sent = self._keep(0, content, interaction.id)
        self._originals[interaction.id] = sent.id
        if len(self._originals) > MESSAGES_MAX:
            self._originals.popitem(last=False)
        return sent

    async def follow_up(self, interaction: InteractionRef, content: str) -> Sent:
        """See `DiscordRest.follow_up`."""
        return self._keep(0, content, interaction.id)

    async def edit_follow_up(
        self, interaction: InteractionRef, message_id: int, content: str
    ) -> None:
        """See `DiscordRest.edit_follow_up`."""
        del interaction
        await self.edit(0, message_id, content)

    async def direct(self, user_id: int) -> int:
        """See `DiscordRest.direct`: people write to it wherever they are."""
        return user_id

    def is_tight(self, channel_id: int, call: str) -> bool:
        """See `DiscordRest.is_tight`: there is always room."""
        del channel_id, call
        return False

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    def _keep(self, channel_id: int, content: str, reply_to: int | None) -> Sent:
        self._last_id = max(self._last_id + 1, snowflake_at(self._clock.wall()))
        self._messages[self._last_id] = ChannelMessage(
            id=self._last_id,
            channel_id=channel_id,
            author_id=OUR_ID,
            author_name="llmbot",
            content=content,
            author_is_bot=True,
            author_is_us=True,
            reply_to=reply_to,
        )
        if len(self._messages) > MESSAGES_MAX:
            self._messages.popitem(last=False)
        return Sent(self._last_id, content)
