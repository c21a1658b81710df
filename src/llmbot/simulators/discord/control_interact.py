"""Commands, completions, buttons and forms, used by a simulated person through the control API."""

from __future__ import annotations

from typing import Any

from llmbot.simulators.discord import payloads
from llmbot.simulators.discord.control_parts import Ask, ControlError, Json
from llmbot.simulators.discord.control_talk import uploads_of
from llmbot.simulators.discord.interactions import (
    AUTOCOMPLETE,
    COMMAND,
    COMPONENT,
    MODAL,
    Interaction,
)
from llmbot.simulators.discord.model import Attachment, Channel, Message, User
from llmbot.simulators.discord.permissions import Permission
from llmbot.simulators.discord.views import message_view
from llmbot.simulators.discord.writing import keep_file

# Discord's option kinds of plain values, by the JSON type of the value.
_OPTION_KINDS: dict[type, tuple[int, ...]] = {str: (3, 6, 7, 8, 9, 11), bool: (5,), int: (4, 10)}
_OPTION_KINDS[float] = (10,)
_CHANNEL, _ATTACHMENT = 7, 11


def interact(ask: Ask) -> Json:
    """Use a slash command, ask for completion, press a button or send a form, as a user."""
    user = ask.user()
    source: Message | None = None
    if ask.maybe("message_id") is not None:
        channel, source = ask.message("message_id")
    else:
        channel = ask.place(user)
    guild = ask.core.world.guild_of(channel)
    if guild is not None:
        ask.joined(guild, user)
    allowed = ask.core.world.allowed(channel, user.id)
    if not allowed & Permission.USE_APPLICATION_COMMANDS:
        raise ControlError("this user may not use commands here", 403)
    kind, name, data = _what(ask, channel, source)
    core = ask.core
    core.interactions.expire()
    made = core.interactions.add(core.world.new_id(), kind, user, channel, name)
    made.data = data
    made.files = _take_files(ask, data.get("options", []))
    if channels := _named_channels(ask, user, channel, data.get("options", [])):
        data["resolved"] = {"channels": channels}
    made.source = source
    core.statistics.count("interactions")
    core.announcer.show(
        "interaction",
        interaction_id=str(made.id),
        name=name,
        interaction_type=kind,
        user={"id": str(user.id), "name": user.name},
        channel_id=str(channel.id),
        options=data.get("options", []),
    )
    core.announcer.interaction_created(channel.guild_id, lambda base: _event(ask, made, base))
    return interaction_view(ask, made)


def _what(ask: Ask, channel: Channel, source: Message | None) -> tuple[int, str, Json]:
    """Return kind, name and data of the interaction that is asked for."""
    if ask.maybe("custom_id") is not None:
        custom_id = ask.word("custom_id")
        if ask.body.get("fields") is not None:
            return MODAL, custom_id, _form(custom_id, ask.body["fields"])
        component = None if source is None else _component(source.components, custom_id)
        if component is None:
            raise ControlError("no component has this custom_id", 404)
        data: Json = {"custom_id": custom_id, "component_type": component["type"]}
        if ask.body.get("values") is not None:
            data["values"] = list(ask.body["values"])
        return COMPONENT, custom_id, data
    name = ask.word("command").lstrip("/")
    command = ask.core.commands.usable(channel.guild_id, name)
    if command is None:
        raise ControlError(f"the bot has registered no command /{name}", 404)
    focused = ask.maybe("focused")
    options = _options(command.definition.get("options") or [], ask.body.get("options"), focused)
    data = {"id": str(command.id), "name": name, "type": 1, "options": options}
    if command.guild_id is not None:
        data["guild_id"] = str(command.guild_id)
    return (COMMAND if focused is None else AUTOCOMPLETE), name, data


def _options(known: list[Json], given: Any, focused: str | None) -> list[Json]:
    """Return options as Discord sends them; names and kinds are checked as its app does."""
    given = given or {}
    if not isinstance(given, dict):
        raise ControlError("options must be an object of name to value")
    by_name = {option["name"]: option for option in known}
    unknown = [name for name in given if name not in by_name]
    if unknown:
        raise ControlError(f"the command has no option {unknown[0]!r}")
    if focused is None:
        missing = [n for n, o in by_name.items() if o.get("required") and n not in given]
        if missing:
            raise ControlError(f"the option {missing[0]!r} is required")
    sent = []
    for name, value in given.items():
        option: Json = {"name": name, "type": by_name[name]["type"]}
        if option["type"] == _ATTACHMENT:  # a file as `say` takes it; it gets its id later
            option["value"] = value
        elif isinstance(value, dict):  # a subcommand with its own options
            option["options"] = _options(by_name[name].get("options") or [], value, focused)
        else:
            _check_kind(name, option["type"], value)
            option["value"] = value
            if name == focused:
                option["focused"] = True
        sent.append(option)
    return sent


def _take_files(ask: Ask, options: list[Json]) -> list[Attachment]:
    """Keep the files among the options, given as `say` takes them; each option gets its id."""
    kept = []
    for option in options:
        if option["type"] == _ATTACHMENT:
            (upload,) = uploads_of([option["value"]])
            kept.append(keep_file(ask.core, upload))
            option["value"] = str(kept[-1].id)
    return kept


def _named_channels(ask: Ask, user: User, channel: Channel, options: list[Json]) -> Json:
    """Return the channels that options name, with what the user may do there."""
    found: Json = {}
    for option in options:
        if option["type"] == _CHANNEL:
            wanted = str(option["value"])
            named = ask.core.world.channels.get(int(wanted)) if wanted.isdecimal() else None
            if named is None or named.guild_id != channel.guild_id:
                raise ControlError(f"the option {option['name']!r} names no channel here", 404)
            found[wanted] = {
                "id": wanted,
                "name": named.name,
                "type": named.type,
                "permissions": str(ask.core.world.allowed(named, user.id)),
            }
    return found


def _check_kind(name: str, kind: int, value: Any) -> None:
    if kind not in _OPTION_KINDS.get(type(value), ()):
        raise ControlError(f"the option {name!r} has the wrong kind of value")


def _form(custom_id: str, fields: Any) -> Json:
    if not isinstance(fields, dict):
        raise ControlError("fields must be an object of custom_id to text")
    rows = [
        {
            "type": 1,
            "id": number,
            "components": [
                {"type": 4, "id": number + 100, "custom_id": str(key), "value": str(value)}
            ],
        }
        for number, (key, value) in enumerate(fields.items(), 1)
    ]
    return {"custom_id": custom_id, "components": rows}


def _component(components: list[Json], custom_id: str) -> Json | None:
    for component in components:
        if component.get("custom_id") == custom_id:
            return component
        found = _component(component.get("components") or [], custom_id)
        if found is not None:
            return found
    return None


def _event(ask: Ask, interaction: Interaction, base: str) -> Json:
    """The INTERACTION_CREATE payload."""
    core = ask.core
    channel, user = interaction.channel, interaction.user
    guild = core.world.guild_of(channel)
    body: Json = {
        "version": 1,
        "id": str(interaction.id),
        "application_id": str(core.world.application_id),
        "type": interaction.type,
        "token": interaction.token,
        "data": _data(ask, interaction, base),
        "channel_id": str(channel.id),
        "channel": payloads.channel_object(channel, core.world.bot),
        "app_permissions": str(core.world.allowed(channel)),
        "locale": "en-US",
        "entitlements": [],
        "attachment_size_limit": core.settings.attachment_bytes_max,
        "authorizing_integration_owners": {"0": "0" if guild is None else str(guild.id)},
        "context": 1 if guild is None else 0,
    }
    if guild is None:
        body["user"] = payloads.user_object(user)
    else:
        member = payloads.member_object(guild.members[user.id])
        member["permissions"] = str(core.world.allowed(channel, user.id))
        body |= {"member": member, "guild_id": str(guild.id), "guild_locale": "en-US"}
        body["guild"] = {"id": str(guild.id), "locale": "en-US", "features": []}
    if interaction.source is not None:
        body["message"] = core.renderer.message(interaction.source, base)
    return body


def _data(ask: Ask, interaction: Interaction, base: str) -> Json:
    """The data of the command, with links to its files."""
    data = interaction.data
    if not interaction.files:
        return data
    files = {
        str(each.id): ask.core.renderer.file(interaction.channel, each, base)
        for each in interaction.files
    }
    return data | {"resolved": data.get("resolved", {}) | {"attachments": files}}


def read_interaction(ask: Ask) -> Json:
    """Return what became of an interaction.

    Raises:
        ControlError: it is unknown, or forgotten.
    """
    wanted = ask.path["id"]
    found = ask.core.interactions.find(int(wanted)) if wanted.isdecimal() else None
    if found is None:
        raise ControlError("no such interaction", 404)
    return interaction_view(ask, found)


def interaction_view(ask: Ask, interaction: Interaction) -> Json:
    """Return an interaction with its answers."""
    world = ask.core.world
    messages = interaction.channel.messages
    followups = [messages[each] for each in interaction.followups if each in messages]
    original = interaction.original
    return {
        "id": str(interaction.id),
        "type": interaction.type,
        "name": interaction.name,
        "user": interaction.user.name,
        "channel_id": str(interaction.channel.id),
        "acknowledged": interaction.callback is not None,
        "callback": interaction.callback,
        "data": interaction.callback_data,
        "after_s": interaction.answered_after_s,
        "loading": interaction.loading,
        "original": None if original is None else message_view(world, original),
        "followups": [message_view(world, each) for each in followups],
    }
