"""Which rules hold for a message: the user's wishes, the channel's, the server's, then the bot's.

The servers' settings are in memory, since every message is judged by them as it comes in; a user's
wishes are read when their message has its turn. What cannot be read holds nobody up: the bot's own
rules stand in, and the document store says what is wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from llmbot.conversation.messages import CommandRequest, Inbound
from llmbot.conversation.rules.facts import Rules
from llmbot.conversation.rules.preferences import USERS, Preferences
from llmbot.conversation.rules.server_settings import SERVERS, PlaceSettings, ServerSettings
from llmbot.kernel.errors import LlmbotError
from llmbot.kernel.events import EventBus, Level, Noted
from llmbot.storage.documents.kinds import Ref
from llmbot.storage.documents.store import DocumentStore

READ_PATIENCE_S = 1.0
"""A disk that takes longer to give a user's wishes holds their answer up no longer."""

_NOTHING_SET = ServerSettings()


@dataclass(frozen=True, slots=True)
class Personas:
    """The bot's personas."""

    house: str
    """Instructions that stand before every persona."""
    instructions: Mapping[str, str]
    """By the persona's name."""


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """Somebody changed what holds in a server or for themselves."""

    level: ClassVar[Level] = Level.INFO
    place: str
    setting: str
    by: int

    def describe(self) -> str:
        """See `Event.describe`."""
        return f"Settings of {self.place} changed: {self.setting} (by user {self.by})"


class EffectiveRules:
    """Reads and changes the rules."""

    def __init__(
        self,
        store: DocumentStore,
        bus: EventBus,
        personas: Callable[[], Personas],
    ) -> None:
        """`personas` gives the bot's personas as they are now."""
        self._store = store
        self._bus = bus
        self._personas = personas
        self._servers: dict[str, ServerSettings] = {}
        store.listen(SERVERS, self._changed)

    @property
    def personas(self) -> Mapping[str, str]:
        """The instructions of the bot's personas by their names."""
        return self._personas().instructions

    async def load(self) -> int:
        """Read every server's settings; how many could not be read."""
        unread = 0
        try:
            keys = await self._store.keys(SERVERS)
        except LlmbotError as error:
            self._bus.publish(Noted("settings", f"servers' settings not read: {error.code}"))
            return 1
        for key in keys:
            try:
                found = await self._store.get(SERVERS.ref(key))
            except LlmbotError as error:
                unread += 1
                self._bus.publish(Noted("settings", f"server {key}: not read: {error.code}"))
            else:
                self._changed(SERVERS.ref(key), found)
        return unread

    # ── what holds ──────────────────────────────────────────────────────────────────────────────

    def server(self, guild_id: int | None) -> ServerSettings:
        """What is set for a server."""
        return self._servers.get(str(guild_id), _NOTHING_SET)

    def judged(self, inbound: Inbound) -> Inbound:
        """The message as the rules of its server see it: whether the bot may speak, and how."""
        if inbound.guild_id is None:
            return inbound
        server = self.server(inbound.guild_id)
        if server is _NOTHING_SET:
            return inbound
        channel = server.channel(inbound.channel_id)
        language = channel.language or server.language
        may_speak = inbound.may_speak and self._is_allowed(
            server, inbound.channel_id, inbound.parent_id, inbound.role_ids
        )
        return replace(inbound, may_speak=may_speak, locale=language or inbound.locale)

    def allows(self, request: CommandRequest) -> bool:
        """Whether a command may be answered by the model where, and to whom, it was given."""
        if request.guild_id is None:
            return True
        server = self.server(request.guild_id)
        return self._is_allowed(server, request.channel_id, request.parent_id, request.role_ids)

    @staticmethod
    def _is_allowed(
        server: ServerSettings, channel_id: int, parent_id: int | None, role_ids: tuple[int, ...]
    ) -> bool:
        channels, roles = server.allowed_channels, server.allowed_roles
        if channels and channel_id not in channels and parent_id not in channels:
            return False
        return not roles or not set(roles).isdisjoint(role_ids)

    def user_limit(self, guild_id: int | None) -> int:
        """Most messages a minute of one user in a server; 0 for the bot's own limit."""
        return self.server(guild_id).user_messages_per_minute

    async def of(self, inbound: Inbound) -> Rules:
        """What holds for a message; never fails and never waits long."""
        wishes = await self.preferences(inbound.author_id)
        if inbound.guild_id is None:
            return Rules(
                persona=self._housed(self.personas.get(wishes.persona, "")),
                language=wishes.language,
                streaming=wishes.streaming is not False,
                remember=wishes.remember,
            )
        server = self.server(inbound.guild_id)
        channel = server.channel(inbound.channel_id)
        growing = channel.streaming if channel.streaming is not None else server.streaming
        return Rules(
            persona=self._housed(self._instructions(channel) or self._instructions(server)),
            models=channel.models or server.models,
            language=wishes.language or channel.language or server.language,
            streaming=growing is not False and wishes.streaming is not False,
            # What was said elsewhere does not go into what is remembered of this channel.
            remember=wishes.remember and not _reads_elsewhere(inbound),
        )

    async def preferences(self, user_id: int) -> Preferences:
        """A user's wishes; none where they cannot be read now."""
        try:
            async with asyncio.timeout(READ_PATIENCE_S):
                return await self._store.get(USERS.ref(user_id)) or Preferences()
        except (LlmbotError, TimeoutError):
            return Preferences()

    def _instructions(self, place: PlaceSettings) -> str:
        return place.instructions or self.personas.get(place.persona, "")

    def _housed(self, instructions: str) -> str:
        """Somebody's instructions behind those of the house; nothing where there are none."""
        house = self._personas().house
        return f"{house}\n\n{instructions}" if house and instructions else instructions

    # ── changing ────────────────────────────────────────────────────────────────────────────────

    async def change_server(
        self,
        guild_id: int,
        change: Callable[[ServerSettings], ServerSettings],
        *,
        by: int,
        what: str,
    ) -> ServerSettings:
        """Change a server's settings, durably.

        Raises:
            StoreUnavailableError: it is in force, but not durable yet; or it could not be read.
            NewerDocumentError: a newer llmbot wrote it.
        """
        changed = await self._store.update(SERVERS.ref(guild_id), change)
        self._bus.publish(SettingsChanged(f"server {guild_id}", what, by))
        return changed

    async def change_user(
        self, user_id: int, change: Callable[[Preferences], Preferences], *, what: str
    ) -> Preferences:
        """Change a user's wishes, durably; raises as `change_server` does."""
        changed = await self._store.update(USERS.ref(user_id), change)
        self._bus.publish(SettingsChanged("a user", what, user_id))
        return changed

    def _changed(self, ref: Ref[ServerSettings], value: ServerSettings | None) -> None:
        if value is None or value == _NOTHING_SET:
            self._servers.pop(ref.key, None)
        else:
            self._servers[ref.key] = value


def _reads_elsewhere(inbound: Inbound) -> bool:
    return inbound.long is not None and inbound.long.channel_id != inbound.channel_id
