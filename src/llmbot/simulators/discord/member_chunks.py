"""Answers to "request guild members" (opcode 8): chunks of at most a thousand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmbot.simulators.discord import payloads
from llmbot.simulators.discord.model import Guild, Member

Json = dict[str, Any]

_CHUNK = 1000
_USER_IDS_MAX = 100


def asks_for_everyone(data: Json) -> bool:
    """Whether a request wants all members, for which it needs the members intent.

    Raises:
        KeyError, TypeError, ValueError: the request has not the documented shape.
    """
    return data.get("user_ids") is None and not str(data["query"]) and not int(data["limit"])


def chunks(guild: Guild, data: Json) -> Iterator[Json]:
    """Make the payloads of GUILD_MEMBERS_CHUNK that answer a request."""
    found, missing = _chosen(guild, data)
    pieces = [found[i : i + _CHUNK] for i in range(0, len(found), _CHUNK)] or [[]]
    for index, piece in enumerate(pieces):
        body: Json = {
            "guild_id": str(guild.id),
            "members": [payloads.member_object(each) for each in piece],
            "chunk_index": index,
            "chunk_count": len(pieces),
            "not_found": missing,
        }
        if data.get("presences"):
            body["presences"] = []
        if data.get("nonce") is not None:
            body["nonce"] = str(data["nonce"])
        yield body


def _chosen(guild: Guild, data: Json) -> tuple[list[Member], list[str]]:
    """Return the members that are wanted, and the ids of those that are not there."""
    wanted = data.get("user_ids")
    if wanted is not None:
        ids = [int(i) for i in (wanted if isinstance(wanted, list) else [wanted])]
        ids = ids[:_USER_IDS_MAX]
        found = [guild.members[i] for i in ids if i in guild.members]
        return found, [str(i) for i in ids if i not in guild.members]
    query, limit = str(data["query"]).lower(), int(data["limit"])
    found = [m for m in guild.members.values() if m.user.name.lower().startswith(query)]
    return (found[:limit] if limit else found), []
