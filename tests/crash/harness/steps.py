"""A life that can be ended at any turn of its event loop, and what it leaves behind.

A turn runs every callback that is ready, so that between two turns all coroutines stand at an
await. Ending a life there, for each turn of a message's flow in turn, ends it at every await.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.discord import MemoryDiscord

from llmbot.conversation.messages import ChannelMessage, InteractionRef
from llmbot.conversation.ports import Sent
from llmbot.kernel.clock import SystemClock
from llmbot.kernel.errors import DiscordUnavailableError


class SteppedLoop(asyncio.SelectorEventLoop):
    """An event loop that calls `at_turn` before its turn number `turn`."""

    turns = 0
    turn = -1
    at_turn: Callable[[], None] | None = None

    def _run_once(self) -> None:
        self.turns += 1
        if self.turns == self.turn and self.at_turn is not None:
            self.at_turn()
        super()._run_once()  # type: ignore[misc] # the one place where a turn can be counted


def begin_counting(turn: int, act: Callable[[], None]) -> SteppedLoop:
    """Call `act` at the `turn`-th turn from now on."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SteppedLoop)
    loop.at_turn = act
    loop.turn = loop.turns + turn
    return loop


def copy_disk(database: Path, into: Path) -> None:
    """What a killed process leaves on its disk: the database with its log, as they are now."""
    into.mkdir()
    for name in (database.name, database.name + "-wal"):
        if (found := database.with_name(name)).exists():
            shutil.copyfile(found, into / name)


@dataclass(slots=True)
class MortalDiscord:
    """The way of one life to a `MemoryDiscord`; a dead life's calls have no effect and no end.

    Each call takes a turn of the loop to arrive and one to answer.
    """

    inner: MemoryDiscord
    dead: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the dead life is cleared away: its calls then fail, still without effect."""

    async def _turn(self) -> None:
        await self._alive()
        await SystemClock().sleep(0)
        await self._alive()

    async def _alive(self) -> None:
        if self.dead:
            await self.over.wait()
            raise DiscordUnavailableError

    async def send(
        self, channel_id: int, content: str, *, nonce: str, reply_to: int | None = None
    ) -> Sent:
        """See `DiscordRest.send`."""
        await self._turn()
        sent = await self.inner.send(channel_id, content, nonce=nonce, reply_to=reply_to)
        await self._turn()
        return sent

    async def edit(self, channel_id: int, message_id: int, content: str) -> None:
        """See `DiscordRest.edit`."""
        await self._turn()
        await self.inner.edit(channel_id, message_id, content)
        await self._turn()

    async def delete(self, channel_id: int, message_id: int) -> None:
        """See `DiscordRest.delete`."""
        await self._turn()
        await self.inner.delete(channel_id, message_id)
        await self._turn()

    async def typing(self, channel_id: int) -> None:
        """See `DiscordRest.typing`."""
        await self._turn()
        await self.inner.typing(channel_id)
        await self._turn()

    async def history(
        self,
        channel_id: int,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int = 50,
    ) -> list[ChannelMessage]:
        """See `DiscordRest.history`."""
        await self._turn()
        page = await self.inner.history(channel_id, before=before, after=after, limit=limit)
        await self._turn()
        return page

    async def message(self, channel_id: int, message_id: int) -> ChannelMessage | None:
        """See `DiscordRest.message`."""
        await self._turn()
        found = await self.inner.message(channel_id, message_id)
        await self._turn()
        return found

    async def direct(self, user_id: int) -> int:
        """See `DiscordRest.direct`."""
        await self._turn()
        return await self.inner.direct(user_id)

    def is_tight(self, channel_id: int, call: str) -> bool:
        """See `DiscordRest.is_tight`."""
        return self.inner.is_tight(channel_id, call)

    async def edit_original(self, interaction: InteractionRef, content: str) -> Sent:
        """See `DiscordRest.edit_original`."""
        await self._turn()
        sent = await self.inner.edit_original(interaction, content)
        await self._turn()
        return sent

    async def follow_up(self, interaction: InteractionRef, content: str) -> Sent:
        """See `DiscordRest.follow_up`."""
        await self._turn()
        sent = await self.inner.follow_up(interaction, content)
        await self._turn()
        return sent

    async def edit_follow_up(
        self, interaction: InteractionRef, message_id: int, content: str
    ) -> None:
        """See `DiscordRest.edit_follow_up`."""
        await self._turn()
        await self.inner.edit_follow_up(interaction, message_id, content)
        await self._turn()
