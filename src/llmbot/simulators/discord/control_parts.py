"""What the control API's handlers share: reading bodies, finding places by name, answering."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from llmbot.simulators.discord.core import Core
from llmbot.simulators.discord.model import Channel, Guild, Message, User

Json = dict[str, Any]


class ControlError(ValueError):
    """A control call asks for what is not there or makes no sense."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Ask:
    """One control call: its JSON body, or the query of a GET."""

    core: Core
    base: str
    path: dict[str, str]
    body: Json

    def word(self, name: str) -> str:
        """Return a text that must be there.

        Raises:
            ControlError: it is missing or no text.
        """
        value = self.body.get(name)
        if not isinstance(value, str) or not value:
            raise ControlError(f"{name} must be a text that is not empty")
        return value

    def maybe(self, name: str) -> str | None:
        """Return a text or number as text; None where it is not given."""
        value = self.body.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            return str(value)
        raise ControlError(f"{name} must be a text")

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a switch; in a query 1 and true are on."""
        value = self.body.get(name, default)
        return value.lower() in ("1", "true") if isinstance(value, str) else bool(value)

    def number(self, name: str, default: int) -> int:
        """Return a whole number."""
        value = self.body.get(name, default)
        try:
            return int(value)
        except (TypeError, ValueError):
            raise ControlError(f"{name} must be a whole number") from None

    # finding -----------------------------------------------------------------------------------

    def guild(self) -> Guild:
        """Return the server named by `guild`, by default the first.

        Raises:
            ControlError: there is none of this name.
        """
        guild = self.core.world.guild_named(self.maybe("guild"))
        if guild is None:
            raise ControlError("no such server", 404)
        return guild

    def user(self, name: str = "user") -> User:
        """Return the user of a name or id, created where there is none of this name.

        Raises:
            ControlError: the name is missing.
        """
        wanted = self.maybe(name)
        if wanted is None:
            raise ControlError(f"{name} must name a user")
        world = self.core.world
        if wanted.isdecimal() and int(wanted) in world.users:
            return world.users[int(wanted)]
        return world.user_here(wanted.lstrip("@"), bot=self.flag("bot"))

    def joined(self, guild: Guild, user: User) -> None:
        """Let a user be a member of a server, and tell so if that is new."""
        if user.id not in guild.members:
            member = self.core.world.add_member(guild, user)
            self.core.announcer.member("ADD", guild, member)

    def place(self, user: User | None = None) -> Channel:
        """Return the channel, thread or direct channel that is meant; made where it is missing.

        `dm` is true (with the user at hand) or a user's name; else `channel`, by default the
        first channel, and `thread`, by name or id.

        Raises:
            ControlError: a direct channel without a user.
        """
        world = self.core.world
        direct = self.body.get("dm")
        if direct not in (None, False, "", "false", "0"):
            if isinstance(direct, str) and direct.lower() not in ("true", "1"):
                user = world.user_here(direct)
            if user is None:
                raise ControlError("dm must name a user")
            return world.direct_channel(user)
        wanted = self.maybe("channel")
        if wanted is not None and wanted.isdecimal() and int(wanted) in world.channels:
            channel = world.channels[int(wanted)]
        else:
            channel = self._channel(self.guild(), wanted or "general")
        thread = self.maybe("thread")
        return channel if thread is None else self._thread(channel, thread, user)

    def message(self, name: str = "id") -> tuple[Channel, Message]:
        """Return the message that the path or body names, deleted or not.

        Raises:
            ControlError: there is none.
        """
        wanted = self.path.get(name) or self.maybe(name) or ""
        found = self.core.world.find_message(int(wanted)) if wanted.isdecimal() else None
        if found is None:
            raise ControlError("no such message", 404)
        return found

    def _channel(self, guild: Guild, name: str) -> Channel:
        world = self.core.world
        channel = world.channel_named(guild, name)
        if channel is None:
            channel = world.add_channel(guild, name)
            self.core.announcer.channel("CREATE", channel)
        return channel

    def _thread(self, channel: Channel, name: str, user: User | None) -> Channel:
        world = self.core.world
        guild = world.guild_of(channel)
        if guild is None:
            raise ControlError("a direct channel has no threads")
        thread = world.channel_named(guild, name, parent=channel)
        if thread is None:
            private = self.flag("private")
            thread = world.add_thread(channel, name, user or world.bot, private=private)
            self.core.announcer.channel("CREATE", thread)
        return thread


def answer(body: Any, status: int = 200) -> web.Response:
    """Answer with JSON."""
    return web.Response(
        status=status, body=orjson.dumps(body), headers={"Content-Type": "application/json"}
    )
