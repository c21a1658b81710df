"""Whose message is replied to, where Discord did not say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from llmbot.conversation.ledger.parts import Parts
from llmbot.conversation.memory.recent import RecentMessages
from llmbot.conversation.messages import ChannelMessage, Inbound
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError, TransientError

_TRIES = 5
_PAUSE_S = 0.5


class References:
    """Knows from what was seen and written down; else Discord is asked.

    A message of a life that was killed before it wrote that down is known to Discord alone.
    """

    def __init__(self, parts: Parts, recent: RecentMessages, clock: Clock) -> None:
        """Look into `recent` and `parts`."""
        self._parts = parts
        self._recent = recent
        self._clock = clock
        self.look_up: Callable[[int, int], Awaitable[ChannelMessage | None]] | None = None
        """Asks Discord for a message of a channel; see `DiscordRest.message`."""

    @staticmethod
    def is_open(inbound: Inbound) -> bool:
        """Whether a message may be meant for us because of what it replies to."""
        return (
            inbound.replies_to_us is None
            and inbound.reply_to is not None
            and not inbound.author_is_bot
            and inbound.may_speak
        )

    async def is_ours(self, inbound: Inbound) -> bool:
        """Whether a message replies to one of ours.

        Raises:
            StoreUnavailableError: it is not known here, and the database could not be asked.
        """
        replied_to = inbound.reply_to or 0
        # Our own message may be seen before the call that sent it is answered and recorded.
        seen = self._recent.one(inbound.channel_id, replied_to)
        if seen is not None:
            return seen.author_is_us
        if await self._parts.is_ours(replied_to) is not None:
            return True
        return await self._is_ours_on_discord(inbound.channel_id, replied_to)

    async def _is_ours_on_discord(self, channel_id: int, message_id: int) -> bool:
        if self.look_up is None:
            return False
        for tries in range(_TRIES):
            try:
                found = await self.look_up(channel_id, message_id)
            except TransientError:
                await self._clock.sleep(_PAUSE_S * 2**tries)
            except LlmbotError:
                return False
            else:
                return found is not None and found.author_is_us
        return False
