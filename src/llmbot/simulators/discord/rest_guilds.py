"""The gateway's address, the application, users, servers, members and roles over REST."""

from __future__ import annotations

import asyncio
from typing import Any

from llmbot.simulators.discord import payloads
from llmbot.simulators.discord.access import guild_of
from llmbot.simulators.discord.errors import invalid_form, leaf, unknown
from llmbot.simulators.discord.gateway import gateway_url
from llmbot.simulators.discord.rest import Call, Route
from llmbot.simulators.discord.validation import require, shape, text

Json = dict[str, Any]

_MEMBERS_MAX = 1000


def _gateway(call: Call) -> Json:
    return {"url": gateway_url(call.base)}


def _gateway_bot(call: Call) -> Json:
    core = call.core
    return {
        "url": gateway_url(call.base),
        "shards": core.settings.shards,
        "session_start_limit": core.sessions.start_limit(asyncio.get_running_loop().time()),
    }


def _application(call: Call) -> Json:
    core = call.core
    owner = next(iter(core.world.users.values()))
    people = [user for user in core.world.users.values() if not user.bot]
    flags = core.application_flags()
    return {
        "id": str(core.world.application_id),
        "name": core.world.bot.name,
        "icon": None,
        "description": "A bot in a simulated Discord.",
        "type": None,
        "bot": payloads.user_object(core.world.bot),
        "bot_public": True,
        "bot_require_code_grant": False,
        "verify_key": core.world.application_id.to_bytes(32, "big").hex(),
        "flags": flags,
        "flags_new": str(flags),
        "redirect_uris": [],
        "interactions_endpoint_url": None,
        "role_connections_verification_url": None,
        "owner": payloads.user_object(people[0] if people else owner),
        "approximate_guild_count": len(core.world.guilds),
        "approximate_user_install_count": 0,
        "approximate_user_authorization_count": 0,
        "explicit_content_filter": 0,
        "team": None,
        "eligible_oauth2_scopes": [],
    }


def _me(call: Call) -> Json:
    return payloads.user_object(call.core.world.bot) | {
        "mfa_enabled": False,
        "locale": "en-US",
        "premium_type": 0,
        "email": None,
        "verified": True,
    }


def _rename_me(call: Call) -> Json:
    require(shape({"username": text(longest=32, shortest=2)}), call.body)
    return _me(call)  # accepted; the name stays, so that tests can rely on it


def _user(call: Call) -> Json:
    user = call.core.world.users.get(call.id("user_id"))
    if user is None:
        raise unknown("User")
    return payloads.user_object(user)


def _my_guilds(call: Call) -> list[Json]:
    world = call.core.world
    return [
        {
            "id": str(guild.id),
            "name": guild.name,
            "icon": None,
            "banner": None,
            "owner": guild.owner_id == world.bot.id,
            "permissions": str(world.guild_allowed(guild)),
            "features": [],
        }
        for guild in world.guilds.values()
        if world.bot.id in guild.members
    ]


def _guild(call: Call) -> Json:
    guild = guild_of(call)
    body = payloads.guild_object(guild)
    if call.query_flag("with_counts"):
        body["approximate_member_count"] = len(guild.members)
        body["approximate_presence_count"] = 1
    return body


def _roles(call: Call) -> list[Json]:
    return [payloads.role_object(role) for role in guild_of(call).roles.values()]


def _member(call: Call) -> Json:
    guild = guild_of(call)
    member = guild.members.get(call.id("user_id"))
    if member is None:
        raise unknown("Member")
    return payloads.member_object(member)


def _members(call: Call) -> list[Json]:
    guild = guild_of(call)
    value = call.query.get("limit", "1")
    if not (value.isdecimal() and 1 <= int(value) <= _MEMBERS_MAX):
        words = f"int value should be between 1 and {_MEMBERS_MAX}."
        raise invalid_form({"limit": leaf("NUMBER_TYPE_MAX", words)})
    after = call.query_id("after") or 0
    found = sorted(
        (m for m in guild.members.values() if m.user.id > after), key=lambda m: m.user.id
    )
    return [payloads.member_object(each) for each in found[: int(value)]]


ROUTES = (
    Route("GET", "/gateway", _gateway, needs_token=False),
    Route("GET", "/gateway/bot", _gateway_bot),
    Route("GET", "/oauth2/applications/@me", _application),
    Route("GET", "/applications/@me", _application),
    Route("GET", "/users/@me", _me),
    Route("PATCH", "/users/@me", _rename_me),
    Route("GET", "/users/@me/guilds", _my_guilds),
    Route("GET", "/users/{user_id}", _user),
    Route("GET", "/guilds/{guild_id}", _guild),
    Route("GET", "/guilds/{guild_id}/roles", _roles),
    Route("GET", "/guilds/{guild_id}/members", _members),
    Route("GET", "/guilds/{guild_id}/members/{user_id}", _member),
)
