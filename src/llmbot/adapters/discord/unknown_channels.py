"""What a new process does not know yet: which channels are threads, and which threads are ours.

A session resumed by a new process brings no channel list, and no server tells for sure where the
bot has spoken before. A message that mentions nobody could then be for us or small talk; it waits
here for a moment, in order, until its channel has been asked for once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from discord.http import Route

from llmbot.adapters.discord.facts import Identity
from llmbot.adapters.discord.http import DiscordHttp
from llmbot.adapters.discord.places import Places
from llmbot.adapters.discord.tasks import Tasks
from llmbot.conversation.messages import Inbound
from llmbot.kernel.errors import LlmbotError
from llmbot.kernel.ids import snowflake_time

_HELD_MAX = 2_000
_ASKED_MAX = 50_000
_CALL_S = 4.0
_THREADS_MAX = 20
_THREADS_S = 1.5
_HISTORY = 50
"""Where the bot has not spoken among so many messages, the talk has moved on without it."""


class Unknowns:
    """Holds messages back, by channel, while something about their channel is asked."""

    def __init__(
        self, http: DiscordHttp, places: Places, identity: Identity, tasks: Tasks, born_s: float
    ) -> None:
        """Threads older than `born_s`, seconds since the Unix epoch, have an unknown past."""
        self.held = 0
        self._http = http
        self._places = places
        self._identity = identity
        self._tasks = tasks
        self._born_s = born_s
        self._cold = False
        self._held: dict[int, list[Callable[[], None]]] = {}
        self._asked: OrderedDict[int, None] = OrderedDict()
        self._roles_asked: set[int] = set()

    def begin(self) -> None:
        """The session of an earlier process is resumed: no channel is known."""
        self._cold = True

    def end(self) -> None:
        """A new session brings every channel itself."""
        self._cold = False

    def matter_to(self, message: Inbound) -> bool:
        """Whether the message must wait; also where earlier ones of its channel do."""
        if message.channel_id in self._held:
            return True
        certain = message.is_direct or message.mentions_us or message.replies_to_us
        if certain or message.author_is_bot or message.channel_id in self._asked:
            return False
        if self._cold and not self._places.has_channel(message.channel_id):
            return True
        older = snowflake_time(message.channel_id) < self._born_s
        return message.is_thread and not message.in_our_thread and older

    def hold(self, message: Inbound, act: Callable[[], None]) -> bool:
        """Run `act` when the channel is known; False (and it is not kept) where too much waits."""
        if self.held >= _HELD_MAX:
            return False
        channel_id = message.channel_id
        if channel_id not in self._held:
            asking = self._ask(channel_id, message.guild_id)
            if not self._tasks.start(asking, "discord-ask-channel"):
                return False
            self._held[channel_id] = []
        self._held[channel_id].append(act)
        self.held += 1
        return True

    async def ask_threads(self) -> None:
        """Before a new session is announced: which recent threads are ours, in bounded time."""
        threads = self._places.doubtful_threads(self._identity.user_id, _THREADS_MAX)
        asking = [
            asyncio.create_task(self._ask(t, None), name="discord-ask-thread") for t in threads
        ]
        if asking:
            _, late = await asyncio.wait(asking, timeout=_THREADS_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _ask(self, channel_id: int, guild_id: int | None) -> None:
        """Learn the channel; what cannot be had stays unknown."""
        try:
            if not self._places.has_channel(channel_id):
                await asyncio.gather(self._ask_channel(channel_id), self._ask_roles(guild_id))
            thread = self._places.is_thread(channel_id)
            if thread and not self._places.is_our_thread(channel_id, self._identity.user_id):
                await self._ask_history(channel_id)
        except (KeyError, TypeError, ValueError, AttributeError):
            pass  # an answer that cannot be read: the channel is taken for an ordinary one
        finally:
            self._asked[channel_id] = None
            if len(self._asked) > _ASKED_MAX:
                self._asked.popitem(last=False)
            for act in self._held.pop(channel_id, ()):
                self.held -= 1
                act()

    async def _ask_channel(self, channel_id: int) -> None:
        channel = await self._get(Route("GET", "/channels/{channel_id}", channel_id=channel_id))
        if isinstance(channel, dict):
            self._places.learn_channel({"id": channel_id} | channel)

    async def _ask_roles(self, guild_id: int | None) -> None:
        """The bot's own role, which may be mentioned in place of the bot."""
        if guild_id is None or guild_id in self._roles_asked or self._places.own_role(guild_id):
            return
        self._roles_asked.add(guild_id)
        roles = await self._get(Route("GET", "/guilds/{guild_id}/roles", guild_id=guild_id))
        for role in roles if isinstance(roles, list) else ():
            self._places.learn_role(guild_id, role, self._identity.user_id)

    async def _ask_history(self, channel_id: int) -> None:
        route = Route("GET", "/channels/{channel_id}/messages", channel_id=channel_id)
        page = await self._get(route, limit=_HISTORY)
        ours = str(self._identity.user_id)
        if isinstance(page, list) and any(str(m["author"]["id"]) == ours for m in page):
            self._places.note_spoken(channel_id)

    async def _get(self, route: Route, **params: int) -> Any:
        try:
            return (await self._http.call(route, params=params, deadline_s=_CALL_S)).checked()
        except LlmbotError:
            return None
