"""Application commands over REST: for everyone and for one server."""

from __future__ import annotations

from typing import Any

from llmbot.simulators.discord.commands import Command
from llmbot.simulators.discord.errors import ApiError, missing_access, unknown
from llmbot.simulators.discord.rest import Answer, Call, Route

Json = dict[str, Any]

_CREATED = 201


def _place(call: Call) -> int | None:
    """Return the server of the path, None for a command known everywhere.

    Raises:
        ApiError: another application (20012), or a server where the bot is not (50001).
    """
    if call.id("application_id") != call.core.world.application_id:
        words = "You are not authorized to perform this action on this application"
        raise ApiError(403, 20012, words)
    if "guild_id" not in call.params:
        return None
    guild = call.core.world.guilds.get(call.id("guild_id"))
    if guild is None or call.core.world.bot.id not in guild.members:
        raise missing_access()
    return guild.id


def _found(call: Call) -> Command:
    command = call.core.commands.find(_place(call), call.id("command_id"))
    if command is None:
        raise unknown("Application Command")
    return command


def _show(call: Call, command: Command) -> Json:
    return command.body(call.core.world.application_id)


def _list(call: Call) -> list[Json]:
    return [_show(call, each) for each in call.core.commands.listed(_place(call))]


def _overwrite(call: Call) -> list[Json]:
    commands = call.core.commands.overwrite(_place(call), call.body)
    call.core.announcer.show("commands_overwritten", number=len(commands))
    return [_show(call, each) for each in commands]


def _create(call: Call) -> Answer:
    command, is_new = call.core.commands.put(_place(call), call.body)
    return Answer(_CREATED if is_new else 200, _show(call, command))


def _read(call: Call) -> Json:
    return _show(call, _found(call))


def _edit(call: Call) -> Json:
    former = _found(call)
    body = call.body if isinstance(call.body, dict) else {}
    return _show(call, call.core.commands.change(former, former.definition | body))


def _delete(call: Call) -> None:
    call.core.commands.remove(_found(call))


_GLOBAL = "/applications/{application_id}/commands"
_GUILD = "/applications/{application_id}/guilds/{guild_id}/commands"

ROUTES = tuple(
    route
    for base in (_GLOBAL, _GUILD)
    for route in (
        Route("GET", base, _list),
        Route("PUT", base, _overwrite),
        Route("POST", base, _create),
        Route("GET", base + "/{command_id}", _read),
        Route("PATCH", base + "/{command_id}", _edit),
        Route("DELETE", base + "/{command_id}", _delete),
    )
)
