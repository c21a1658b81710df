"""The application commands that the bot has registered, for everyone and by server."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmbot.simulators.discord.errors import ApiError, ErrorTree, invalid_form, leaf
from llmbot.simulators.discord.validation import (
    Check,
    any_of,
    boolean,
    choice,
    integer,
    items,
    mapping,
    number,
    require,
    shape,
    text,
)

Json = dict[str, Any]

CHAT_INPUT = 1
_SUBCOMMAND_TYPES = (1, 2)
_OPTION_TYPES = range(1, 12)
_DAY_S = 86_400.0
COMMANDS_MAX = 100

# Discord's own expression is ^[-_'\p{L}\p{N}\p{sc=Deva}\p{sc=Thai}]{1,32}$ and lower case only.
_NAME = re.compile(r"[-_'\w]{1,32}")


def _name(value: Any) -> ErrorTree | None:
    wrong = text(longest=32, shortest=1)(value)
    if wrong is not None:
        return wrong
    if not _NAME.fullmatch(value) or value != value.lower():
        return leaf("APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")
    return None


_CHOICE = shape(
    {
        "name": text(longest=100, shortest=1),
        "name_localizations": mapping(),
        "value": any_of(text(longest=6000), number()),
    },
    required=("name", "value"),
)


def _option(value: Any) -> ErrorTree | None:
    """Check an option, and those below a subcommand."""
    return shape(
        {
            "type": choice(_OPTION_TYPES),
            "name": _name,
            "name_localizations": mapping(),
            "description": text(longest=100, shortest=1),
            "description_localizations": mapping(),
            "required": boolean(),
            "choices": items(_CHOICE, most=25),
            "options": items(_option, most=25),
            "channel_types": items(integer()),
            "min_value": number(),
            "max_value": number(),
            "min_length": integer(0, 6000),
            "max_length": integer(1, 6000),
            "autocomplete": boolean(),
        },
        required=("type", "name", "description"),
    )(value)


_COMMON: dict[str, Check] = {
    "name_localizations": mapping(),
    "description_localizations": mapping(),
    "default_member_permissions": integer(0),
    "dm_permission": boolean(),
    "contexts": items(choice((0, 1, 2))),
    "integration_types": items(choice((0, 1))),
    "nsfw": boolean(),
    "type": choice((1, 2, 3, 4)),
}
_SLASH = shape(
    _COMMON
    | {
        "name": _name,
        "description": text(longest=100, shortest=1),
        "options": items(_option, most=25),
    },
    required=("name", "description"),
)
_MENU = shape(
    _COMMON | {"name": text(longest=32, shortest=1), "description": text(longest=0)},
    required=("name",),
)


def check_command(value: Any) -> ErrorTree | None:
    """Check one command as it is sent for registration."""
    if isinstance(value, dict) and value.get("type") not in (None, CHAT_INPUT):
        return _MENU(value)
    wrong = _SLASH(value)
    return wrong or _order_of_options(value.get("options") or [])


def _order_of_options(options: list[Json]) -> ErrorTree | None:
    """Refuse a required option after an optional one, and two of the same name."""
    optional_seen = False
    names: set[str] = set()
    for index, option in enumerate(options):
        if option["name"] in names:
            wrong = leaf("APPLICATION_COMMAND_OPTIONS_NAME_INVALID", "Option names must be unique")
            return {"options": {str(index): {"name": wrong}}}
        names.add(option["name"])
        if option["type"] in _SUBCOMMAND_TYPES:
            continue
        if option.get("required") and optional_seen:
            words = "Required options must be placed before non-required options"
            wrong = leaf("APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", words)
            return {"options": {str(index): {"required": wrong}}}
        optional_seen = optional_seen or not option.get("required")
    return None


@dataclass(frozen=True, slots=True)
class Command:
    """A registered command; `guild_id` is None for one that is known everywhere."""

    id: int
    guild_id: int | None
    definition: Json
    version: int

    @property
    def key(self) -> tuple[str, int]:
        """What no two commands of the same place may share."""
        return self.definition["name"], int(self.definition.get("type") or CHAT_INPUT)

    def body(self, application_id: int) -> Json:
        """Return the command object."""
        given = {k: v for k, v in self.definition.items() if v is not None and k in _RETURNED}
        permissions = given.pop("default_member_permissions", None)
        body: Json = {
            "id": str(self.id),
            "application_id": str(application_id),
            "version": str(self.version),
            "default_member_permissions": None if permissions is None else str(permissions),
            "type": self.key[1],
            "description": "",
            "nsfw": False,
        }
        if self.guild_id is not None:
            body["guild_id"] = str(self.guild_id)
        else:
            body |= {"dm_permission": True, "contexts": None, "integration_types": [0]}
        return body | given


_RETURNED = frozenset(
    {
        "name",
        "name_localizations",
        "description",
        "description_localizations",
        "options",
        "default_member_permissions",
        "dm_permission",
        "contexts",
        "integration_types",
        "nsfw",
    }
)


class CommandRegistry:
    """Registered commands and the daily number of new ones that a place may get."""

    def __init__(
        self, new_id: Callable[[], int], daily_limit: int, now: Callable[[], float]
    ) -> None:
        self._new_id = new_id
        self._daily_limit = daily_limit
        self._now = now
        self._commands: dict[int | None, dict[int, Command]] = {}
        self._created: dict[int | None, deque[float]] = {}
        self.creations = 0
        self.overwrites = 0

    def listed(self, guild_id: int | None) -> list[Command]:
        """Return the commands of a server, or those known everywhere."""
        return list(self._commands.get(guild_id, {}).values())

    def find(self, guild_id: int | None, command_id: int) -> Command | None:
        """Find a command by id."""
        return self._commands.get(guild_id, {}).get(command_id)

    def usable(self, guild_id: int | None, name: str, kind: int = CHAT_INPUT) -> Command | None:
        """Find the command that a user would get: the server's own before the general one."""
        places = (None,) if guild_id is None else (guild_id, None)
        for place in places:
            for command in self.listed(place):
                if command.key == (name, kind):
                    return command
        return None

    def put(self, guild_id: int | None, definition: Any) -> tuple[Command, bool]:
        """Create a command or change the one of the same name; True if it is new.

        Raises:
            ApiError: a refused shape (50035), too many commands, or too many new ones (30034).
        """
        require(check_command, definition)
        return self._put(guild_id, definition)

    def overwrite(self, guild_id: int | None, definitions: Any) -> list[Command]:
        """Replace all commands of a place; those whose name stays keep their id.

        Raises:
            ApiError: as `put`; then nothing is changed.
        """
        require(items(check_command, most=COMMANDS_MAX + 30), definitions)
        keys = [(d["name"], int(d.get("type") or CHAT_INPUT)) for d in definitions]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                words = "Application command names must be unique"
                raise invalid_form(
                    {str(index): {"name": leaf("APPLICATION_COMMANDS_DUPLICATE_NAME", words)}}
                )
        new = set(keys) - {command.key for command in self.listed(guild_id)}
        self._check_daily(guild_id, len(new))
        self.overwrites += 1
        place = self._commands.setdefault(guild_id, {})
        for command in list(place.values()):
            if command.key not in keys:
                del place[command.id]
        return [self._put(guild_id, definition)[0] for definition in definitions]

    def change(self, former: Command, definition: Json) -> Command:
        """Give a command another definition, perhaps another name, and keep its id.

        Raises:
            ApiError: a refused shape, or the name of another command (both 50035).
        """
        require(check_command, definition)
        changed = Command(former.id, former.guild_id, definition, self._new_id())
        if any(c.key == changed.key for c in self.listed(former.guild_id) if c is not former):
            words = "Application command names must be unique"
            raise invalid_form({"name": leaf("APPLICATION_COMMANDS_DUPLICATE_NAME", words)})
        self._commands[former.guild_id][former.id] = changed
        return changed

    def remove(self, command: Command) -> None:
        """Delete a command."""
        self._commands.get(command.guild_id, {}).pop(command.id, None)

    def _put(self, guild_id: int | None, definition: Json) -> tuple[Command, bool]:
        place = self._commands.setdefault(guild_id, {})
        key = (definition["name"], int(definition.get("type") or CHAT_INPUT))
        former = next((c for c in place.values() if c.key == key), None)
        if former is None:
            if len(place) >= COMMANDS_MAX:
                raise ApiError(400, 30032, "Maximum number of application commands reached (100).")
            self._check_daily(guild_id, 1)
            self._created.setdefault(guild_id, deque()).append(self._now())
            self.creations += 1
        elif former.definition == definition:
            return former, False
        command_id = self._new_id()
        command = Command(
            command_id if former is None else former.id, guild_id, definition, command_id
        )
        place[command.id] = command
        return command, former is None

    def _check_daily(self, guild_id: int | None, new: int) -> None:
        created = self._created.get(guild_id, deque())
        while created and self._now() - created[0] >= _DAY_S:
            created.popleft()
        if len(created) + new > self._daily_limit:
            words = (
                "Maximum number of daily application command creates has been reached "
                f"({self._daily_limit})"
            )
            raise ApiError(400, 30034, words)
