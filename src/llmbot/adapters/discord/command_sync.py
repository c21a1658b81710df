"""Registers the slash commands at Discord, only when their definition changed.

Registering at every start burns the day's quota of 200 creations (30034). Source: Discord API
reference, "Application Commands", "Bulk Overwrite Global Application Commands".
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from discord.http import Route

from llmbot.adapters.discord.facts import Identity
from llmbot.adapters.discord.http import DiscordHttp
from llmbot.conversation.messages import CommandDefinition, CommandOption
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError, TransientError
from llmbot.kernel.events import EventBus, Noted

_CHAT_INPUT = 1
_MANAGE_GUILD = str(1 << 5)
_OPTION_TYPES = {"string": 3, "channel": 7, "attachment": 11}
_TRIES_MAX = 5
_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True)
class CommandMemory:
    """Keeps the hash of what was registered last, by application id."""

    load: Callable[[int], Awaitable[str | None]]
    save: Callable[[int, str], Awaitable[None]]


def registration(definitions: Sequence[CommandDefinition]) -> list[dict[str, Any]]:
    """The definitions as Discord takes them; what is required comes first, as it demands."""
    return [
        {
            "name": definition.name,
            "type": _CHAT_INPUT,
            "description": definition.description,
            "options": [
                _option(option)
                for option in sorted(definition.options, key=lambda o: not o.required)
            ],
        }
        | ({"default_member_permissions": _MANAGE_GUILD} if definition.for_managers else {})
        for definition in definitions
    ]


def _option(option: CommandOption) -> dict[str, Any]:
    registered = {
        "type": _OPTION_TYPES[option.kind],
        "name": option.name,
        "description": option.description,
        "required": option.required,
    }
    if option.choices:
        registered["choices"] = [{"name": word, "value": word} for word in option.choices]
    return registered


class CommandSync:
    """Brings Discord's list in line with ours; failures are reported and never fatal."""

    def __init__(
        self,
        http: DiscordHttp,
        definitions: Sequence[CommandDefinition],
        memory: CommandMemory,
        clock: Clock,
        bus: EventBus,
    ) -> None:
        self._http = http
        self._wanted = registration(definitions)
        self._memory = memory
        self._clock = clock
        self._bus = bus

    async def run(self, identity: Identity) -> None:
        """Register if needed; tries again a few times where that may help."""
        if not self._wanted:
            return
        for attempt in range(_TRIES_MAX):
            try:
                await self._sync(await self._application_id(identity))
            except TransientError as failure:
                pause = max(failure.retry_after_s or 0.0, _PAUSE_S * 2**attempt)
                self._note(f"not registered: {failure}; again in {pause:g} s")
                await self._clock.sleep(pause)
            except LlmbotError as refusal:
                self._note(f"not registered: {refusal}")
                return
            else:
                return

    async def _sync(self, application_id: int) -> None:
        text = orjson.dumps(self._wanted, option=orjson.OPT_SORT_KEYS)
        digest = hashlib.sha256(text).hexdigest()
        if await self._memory.load(application_id) == digest:
            return
        await self._http.bulk_upsert_global_commands(application_id, payload=self._wanted)
        await self._memory.save(application_id, digest)
        self._note(f"{len(self._wanted)} registered")

    async def _application_id(self, identity: Identity) -> int:
        if identity.application_id:
            return identity.application_id
        reply = await self._http.call(Route("GET", "/oauth2/applications/@me"))
        if reply.ok and isinstance(reply.body, dict) and "id" in reply.body:
            identity.application_id = int(reply.body["id"])
        # Lesser servers have no such route; for all but the oldest bots the two ids are the same.
        return identity.application_id or identity.user_id

    def _note(self, detail: str) -> None:
        self._bus.publish(Noted("Discord commands", detail))
