"""A word to the author where the bot may not write: once, in a direct message.

Whoever asks in a channel that refuses the bot would hear nothing at all. That word may be refused
too (people can close their direct messages to a bot); then there is nowhere left to say it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from llmbot.conversation.messages import Inbound
from llmbot.conversation.ports import DiscordRest
from llmbot.conversation.text.notices import notice
from llmbot.kernel.errors import LlmbotError
from llmbot.kernel.events import ChannelSetAside, EventBus
from llmbot.kernel.ids import part_nonce

__all__ = ["Elsewhere"]

K = TypeVar("K", int, tuple[int, int])

_TOLD_MAX = 5000


class Elsewhere:
    """Remembers who was told about which channel; told once in a life of the process."""

    def __init__(
        self, rest: DiscordRest, judged: Callable[[Inbound], Inbound], bus: EventBus
    ) -> None:
        """Write through `rest`; `judged` knows where a server itself does not want the bot."""
        self._rest = rest
        self._judged = judged
        self._bus = bus
        self._told: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._aside: OrderedDict[int, None] = OrderedDict()

    async def muted(self, inbound: Inbound) -> None:
        """A message meant for the bot came where it may not write, as the gateway tells."""
        if not self._judged(replace(inbound, may_speak=True)).may_speak:
            return  # its server decided so: that is no trouble, and nobody's business elsewhere
        channel_id = inbound.channel_id
        if _first(self._aside, channel_id):
            words = "the bot may not write there, as its roles are now"
            self._bus.publish(ChannelSetAside(channel_id, "no_permission", words))
        await self.tell(inbound)

    async def tell(self, inbound: Inbound) -> None:
        """Tell the author that the channel refuses the bot; never raises for its sake."""
        if inbound.is_direct or inbound.interaction is not None:
            return
        if not _first(self._told, (inbound.channel_id, inbound.author_id)):
            return
        text = notice("no_permission", inbound.locale, name=f"<#{inbound.channel_id}>")
        try:
            channel_id = await self._rest.direct(inbound.author_id)
            await self._rest.send(channel_id, text, nonce=part_nonce(inbound.message_id, 0))
        except LlmbotError:
            # Discord is away, or this person takes no messages of the bot: it stays a courtesy.
            return


def _first(seen: OrderedDict[K, None], key: K) -> bool:
    if key in seen:
        return False
    seen[key] = None
    if len(seen) > _TOLD_MAX:
        seen.popitem(last=False)
    return True
