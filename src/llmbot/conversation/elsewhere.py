"""A word to the author where the bot may not write: once, in a direct message.

Whoever asks in a channel that refuses the bot would hear nothing at all. That word may be refused
too (people can close their direct messages to a bot); then there is nowhere left to say it.
"""

from __future__ import annotations

from collections import OrderedDict

from llmbot.conversation.jobs import Job
from llmbot.conversation.notices import notice
from llmbot.conversation.ports import DiscordRest
from llmbot.kernel.errors import LlmbotError
from llmbot.kernel.ids import part_nonce

__all__ = ["Elsewhere"]

_TOLD_MAX = 5000


class Elsewhere:
    """Remembers who was told about which channel; told once in a life of the process."""

    def __init__(self, rest: DiscordRest) -> None:
        """Write through `rest`."""
        self._rest = rest
        self._told: OrderedDict[tuple[int, int], None] = OrderedDict()

    async def tell(self, job: Job) -> None:
        """Tell the author of `job` that its channel refuses the bot; never raises for its sake."""
        inbound = job.inbound
        key = (inbound.channel_id, inbound.author_id)
        if inbound.is_direct or inbound.interaction is not None or key in self._told:
            return
        self._told[key] = None
        if len(self._told) > _TOLD_MAX:
            self._told.popitem(last=False)
        text = notice("no_permission", inbound.locale, name=f"<#{inbound.channel_id}>")
        try:
            channel_id = await self._rest.direct(inbound.author_id)
            await self._rest.send(channel_id, text, nonce=part_nonce(inbound.message_id, 0))
        except LlmbotError:
            # Discord is away, or this person takes no messages of the bot: it stays a courtesy.
            return
