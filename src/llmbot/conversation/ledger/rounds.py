"""What the reconciler and its proofs share: their bounds, a round's count, reading, comparing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from llmbot.conversation.ledger.entries import Entry
from llmbot.conversation.messages import ChannelMessage
from llmbot.conversation.ports import DiscordRest
from llmbot.conversation.splitting import split_message

__all__ = ["KINDS", "ReconcileSettings", "Round", "Standing"]

KINDS = ("lost", "doubled", "cut")

_PAGE = 100


@dataclass(frozen=True, slots=True)
class ReconcileSettings:
    """How often and how far; times in seconds."""

    first_after_s: float = 20.0
    every_s: float = 240.0
    window_s: float = 900.0
    """Messages asked earlier are settled, and replies ended earlier are proven no more."""
    settled_s: float = 30.0
    """What changed later than so long ago may still be under way."""
    messages_max: int = 300
    calls_max: int = 20
    """Calls to Discord in one round; after a kill the next goes on where it broke off."""
    pages_per_channel_max: int = 3
    texts_max: int = 300
    """Answers whose text is kept in memory for comparison."""


@dataclass(slots=True)
class Round:
    """What one round finds."""

    found: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    mended: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    removed: int = 0
    calls: int = 0
    complete: bool = True


class Standing:
    """What stands in the channels."""

    def __init__(self, rest: DiscordRest) -> None:
        """Read and mend through `rest`."""
        self._rest = rest

    async def read(
        self, channel_id: int, after: int, current: Round, pages_max: int
    ) -> tuple[list[ChannelMessage], bool]:
        """The messages after an id, oldest first, and whether these are all.

        Raises:
            LlmbotError: Discord could not be asked.
        """
        found: list[ChannelMessage] = []
        for _ in range(pages_max):
            current.calls += 1
            page = await self._rest.history(channel_id, after=after, limit=_PAGE)
            found += page
            if len(page) < _PAGE:
                return found, True
            after = page[-1].id
        return found, False

    async def take_away(self, surplus: ChannelMessage, current: Round) -> None:
        """Delete a message of ours that nobody needs.

        Raises:
            LlmbotError: Discord could not be reached, or refuses.
        """
        current.found["doubled"] += 1
        await self._rest.delete(surplus.channel_id, surplus.id)
        current.calls += 1
        current.mended["doubled"] += 1

    async def compare_texts(
        self,
        entry: Entry,
        reply: str | None,
        standing: Mapping[int, ChannelMessage],
        current: Round,
    ) -> None:
        """Put right the parts that do not hold what was delivered.

        Raises:
            LlmbotError: Discord could not be reached, or refuses.
        """
        texts = split_message(reply) if reply else []
        if len(texts) != len(entry.parts):
            return
        for discord_id, text in zip(entry.parts, texts, strict=True):
            message = standing.get(discord_id)
            if message is not None and message.content.strip() != text.strip():
                current.found["cut"] += 1
                await self._rest.edit(entry.channel_id, discord_id, text)
                current.calls += 1
                current.mended["cut"] += 1
