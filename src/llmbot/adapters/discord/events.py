"""Raw gateway events to the handler's calls: at once, in order, and never fatal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmbot.adapters.discord.commands import CommandDesk
from llmbot.adapters.discord.facts import Identity
from llmbot.adapters.discord.payloads import channel_message, inbound, is_talk, optional_id
from llmbot.adapters.discord.places import Places
from llmbot.adapters.discord.unknown_channels import Unknowns
from llmbot.conversation.messages import SessionCursor, Source
from llmbot.conversation.ports import GatewayHandler
from llmbot.kernel.events import EventBus, Noted

Payload = dict[str, Any]

_NOTED_SINGLY = 20
_NOTED_EVERY = 100
"""After the first twenty of a kind only each hundredth is told: a storm must not drown the log."""


class EventRouter:
    """One for the life of the process; the places it learns outlive connections."""

    def __init__(
        self,
        handler: GatewayHandler,
        identity: Identity,
        places: Places,
        unknowns: Unknowns,
        desk: CommandDesk,
        bus: EventBus,
    ) -> None:
        self.unparsable = 0
        self.handler_failures = 0
        self.awaited_guilds: set[int] = set()
        self.on_guild: Callable[[], None] = lambda: None
        self._handler = handler
        self._identity = identity
        self._places = places
        self._unknowns = unknowns
        self._desk = desk
        self._bus = bus
        self._cursor: SessionCursor | None = None
        self._source = Source.LIVE
        self._routes: dict[str, Callable[[Payload], None]] = {
            "MESSAGE_CREATE": self._message,
            "MESSAGE_UPDATE": self._edited,
            "MESSAGE_DELETE": self._deleted,
            "MESSAGE_DELETE_BULK": self._deleted_in_bulk,
            "INTERACTION_CREATE": self._interaction,
            "GUILD_CREATE": self._guild_created,
            "GUILD_UPDATE": lambda d: places.update_guild(d, identity.user_id),
            "GUILD_DELETE": lambda d: places.forget_guild(int(d["id"])),
            "GUILD_ROLE_CREATE": self._role,
            "GUILD_ROLE_UPDATE": self._role,
            "GUILD_ROLE_DELETE": lambda d: places.forget_role(
                int(d["guild_id"]), int(d["role_id"])
            ),
            "GUILD_MEMBER_UPDATE": self._member,
            "CHANNEL_CREATE": places.learn_channel,
            "CHANNEL_UPDATE": places.learn_channel,
            "CHANNEL_DELETE": lambda d: places.forget_channel(int(d["id"])),
            "THREAD_CREATE": places.learn_channel,
            "THREAD_UPDATE": places.learn_channel,
            "THREAD_DELETE": lambda d: places.forget_channel(int(d["id"])),
            "THREAD_LIST_SYNC": self._threads,
            "THREAD_MEMBER_UPDATE": lambda d: places.set_joined(int(d["id"]), joined=True),
            "THREAD_MEMBERS_UPDATE": self._thread_members,
        }

    def route(self, name: str, data: Any, cursor: SessionCursor | None, source: Source) -> None:
        """Handle one event; whatever is wrong with it is counted and told, never raised."""
        self._cursor, self._source = cursor, source
        act = self._routes.get(name)
        if act is None:
            return
        try:
            act(data)
        except Exception as unreadable:  # noqa: BLE001 - one strange payload must not end the connection
            self.note_unparsable(name, type(unreadable).__name__)

    def note_unparsable(self, name: str, reason: str) -> None:
        """Count a payload that could not be understood."""
        self.unparsable += 1
        if self.unparsable <= _NOTED_SINGLY or self.unparsable % _NOTED_EVERY == 0:
            self._bus.publish(
                Noted("Unparsable gateway payload skipped", f"{name}: {reason} ({self.unparsable})")
            )

    def tell(self, call: Callable[[], None]) -> None:
        """Call the handler; that it fails is its own defect and must not cost the connection."""
        try:
            call()
        except Exception as failure:  # noqa: BLE001 - said above
            self.handler_failures += 1
            count = self.handler_failures
            if count <= _NOTED_SINGLY or count % _NOTED_EVERY == 0:
                self._bus.publish(
                    Noted("Gateway handler failed", f"{type(failure).__name__} ({count})")
                )

    # messages --------------------------------------------------------------------------------

    def _message(self, data: Payload) -> None:
        seen = channel_message(data, self._identity.user_id)
        self._places.note_message(
            seen.channel_id,
            seen.id,
            direct=data.get("guild_id") is None,
            ours=seen.author_is_us,
        )
        if not is_talk(data):
            return
        if not seen.author_is_us:
            self._take(data, self._source)
        self.tell(lambda: self._handler.on_message_seen(seen))

    def _take(self, data: Payload, source: Source) -> None:
        our_id = self._identity.user_id
        seen = channel_message(data, our_id)
        message = inbound(data, seen, our_id, self._places, source)
        if self._unknowns.matter_to(message) and self._unknowns.hold(
            # It could be read once, so it can again when more is known of its channel.
            message,
            lambda: self._take(data, source),
        ):
            return
        # While earlier messages are held back, the stored place must not move past them: a
        # restart has to get them again.
        cursor = None if self._unknowns.held else self._cursor
        self.tell(lambda: self._handler.on_message(message, cursor))

    def _edited(self, data: Payload) -> None:
        content = data.get("content")
        if isinstance(content, str):
            channel_id, message_id = int(data["channel_id"]), int(data["id"])
            self.tell(lambda: self._handler.on_message_edited(channel_id, message_id, content))

    def _deleted(self, data: Payload) -> None:
        channel_id, message_id = int(data["channel_id"]), int(data["id"])
        self.tell(lambda: self._handler.on_message_deleted(channel_id, message_id))

    def _deleted_in_bulk(self, data: Payload) -> None:
        for message_id in data["ids"]:
            self._deleted({"channel_id": data["channel_id"], "id": message_id})

    def _interaction(self, data: Payload) -> None:
        ours = self._identity.application_id or self._identity.user_id
        self._desk.take({"application_id": ours} | data)

    # places ----------------------------------------------------------------------------------

    def _guild_created(self, data: Payload) -> None:
        guild_id = int(data["id"])
        self.awaited_guilds.discard(guild_id)
        try:
            if not data.get("unavailable"):
                self._places.learn_guild(data, self._identity.user_id)
        finally:
            self.on_guild()

    def _role(self, data: Payload) -> None:
        self._places.learn_role(int(data["guild_id"]), data["role"], self._identity.user_id)

    def _member(self, data: Payload) -> None:
        user_id = optional_id((data.get("user") or {}).get("id"))
        if user_id == self._identity.user_id:
            self._places.learn_own_member(int(data["guild_id"]), data, user_id)

    def _threads(self, data: Payload) -> None:
        joined = {str(m.get("id")): m for m in data.get("members") or ()}
        for thread in data.get("threads") or ():
            member = joined.get(str(thread.get("id")))
            known = thread | {"member": member} if member is not None else thread
            self._places.learn_channel(known, guild_id=int(data["guild_id"]))

    def _thread_members(self, data: Payload) -> None:
        our_id, thread_id = str(self._identity.user_id), int(data["id"])
        if any(str(m.get("user_id")) == our_id for m in data.get("added_members") or ()):
            self._places.set_joined(thread_id, joined=True)
        if our_id in map(str, data.get("removed_member_ids") or ()):
            self._places.set_joined(thread_id, joined=False)
