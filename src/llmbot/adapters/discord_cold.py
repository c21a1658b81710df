"""A session resumed by a new process brings no server list: learn it from REST, server by server.

Until a server is known, a message of it that mentions nobody could stand in a thread of ours; such
messages wait here for a moment, in order, rather than be taken for small talk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from discord.http import Route

from llmbot.adapters.discord_facts import Identity
from llmbot.adapters.discord_http import DiscordHttp
from llmbot.adapters.discord_places import Places
from llmbot.adapters.discord_tasks import Tasks
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError

_HELD_MAX = 2_000
_CALL_S = 4.0
_PACE_S = 0.1
"""Four calls a server: with this pause they leave most of Discord's 50 a second to replies."""
_GUILDS_MAX = 200
"""One page of the bot's servers; those beyond it are learnt when a message comes."""


class ColdStart:
    """Knows which servers are still unknown, and holds back what depends on them."""

    def __init__(
        self, http: DiscordHttp, places: Places, identity: Identity, tasks: Tasks, clock: Clock
    ) -> None:
        self._clock = clock
        self._http = http
        self._places = places
        self._identity = identity
        self._tasks = tasks
        self._cold = False
        self._held: dict[int, list[Callable[[], None]]] = {}
        self._tried: set[int] = set()
        self.held = 0

    def begin(self) -> None:
        """The session of an earlier process was resumed: nothing is known."""
        self._cold = True
        self._tasks.start(self._learn_all(), "discord-learn-guilds")

    def end(self) -> None:
        """A new session brings everything itself; what is held goes on with what is known."""
        self._cold = False
        for guild_id in list(self._held):
            self._release(guild_id)

    def is_unknown(self, guild_id: int | None) -> bool:
        """Whether this server is still to be learnt."""
        return (
            self._cold
            and guild_id is not None
            and guild_id not in self._tried
            and not self._places.knows(guild_id)
        )

    def has_queue(self, guild_id: int | None) -> bool:
        """Whether earlier messages of this server are held; later ones must not overtake them."""
        return guild_id in self._held

    def hold(self, guild_id: int, act: Callable[[], None]) -> bool:
        """Run `act` when the server is known; False (and it is not kept) where too much waits."""
        if self.held >= _HELD_MAX:
            return False
        if guild_id not in self._held:
            if not self._tasks.start(self._learn(guild_id), "discord-learn-guild"):
                return False
            self._held[guild_id] = []
        self._held[guild_id].append(act)
        self.held += 1
        return True

    async def _learn_all(self) -> None:
        guilds = await self._get(Route("GET", "/users/@me/guilds"))
        for guild in guilds[:_GUILDS_MAX] if isinstance(guilds, list) else ():
            guild_id = int(guild["id"]) if isinstance(guild, dict) and "id" in guild else None
            if guild_id is not None and self.is_unknown(guild_id):
                await self._learn(guild_id)
                await self._clock.sleep(_PACE_S)

    async def _learn(self, guild_id: int) -> None:
        """Put together what GUILD_CREATE would have said; what cannot be had stays unknown."""
        try:
            guild, channels, active, member = await asyncio.gather(
                self._get(Route("GET", "/guilds/{guild_id}", guild_id=guild_id)),
                self._get(Route("GET", "/guilds/{guild_id}/channels", guild_id=guild_id)),
                self._get(Route("GET", "/guilds/{guild_id}/threads/active", guild_id=guild_id)),
                self._get(
                    Route(
                        "GET",
                        "/guilds/{guild_id}/members/{user_id}",
                        guild_id=guild_id,
                        user_id=self._identity.user_id,
                    )
                ),
            )
            if self.is_unknown(guild_id):  # unless the gateway was faster
                data = dict(guild) if isinstance(guild, dict) else {}
                data |= {"id": guild_id, "channels": channels, "members": [member]}
                data["threads"] = _threads(active)
                self._places.learn_guild(data, self._identity.user_id)
        except (KeyError, TypeError, ValueError):
            pass  # answers that cannot be read leave the server unknown, in the bot's favour
        finally:
            self._tried.add(guild_id)
            self._release(guild_id)

    async def _get(self, route: Route) -> Any:
        try:
            return (await self._http.call(route, deadline_s=_CALL_S)).checked()
        except LlmbotError:
            return None

    def _release(self, guild_id: int) -> None:
        for act in self._held.pop(guild_id, ()):
            self.held -= 1
            act()


def _threads(active: Any) -> list[dict[str, Any]]:
    """The threads, each with our membership where we are a member."""
    if not isinstance(active, dict):
        return []
    joined = {str(m.get("id")): m for m in active.get("members") or () if isinstance(m, dict)}
    threads = [dict(t) for t in active.get("threads") or () if isinstance(t, dict)]
    for thread in threads:
        if (member := joined.get(str(thread.get("id")))) is not None:
            thread["member"] = member
    return threads
