"""`/settings` for the managers of a server, `/preferences` for everybody: to see and to set."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from llmbot.conversation.messages import CommandReply, CommandRequest
from llmbot.conversation.rules.effective import EffectiveRules
from llmbot.conversation.rules.preferences import Preferences
from llmbot.conversation.rules.server_settings import ChannelSettings, ServerSettings
from llmbot.kernel.errors import RefusedError

SERVER_CHOICES = (
    "persona",
    "instructions",
    "models",
    "language",
    "streaming",
    "roles",
    "channels",
    "limit",
)
CHANNEL_CHOICES = frozenset({"persona", "instructions", "models", "language", "streaming"})
USER_CHOICES = ("language", "streaming", "memory", "persona")
DEFAULT_WORDS = frozenset({"default", "reset", "none", "standard"})

_FIELDS = {
    "roles": "allowed_roles",
    "channels": "allowed_channels",
    "limit": "user_messages_per_minute",
    "memory": "remember",
}
M = TypeVar("M", bound=BaseModel)

_ID = re.compile(r"\d{1,20}")
_ON, _OFF = (
    frozenset({"on", "true", "yes", "an", "oui", "si", "sim"}),
    frozenset({"off", "false", "no", "aus", "non", "nao"}),
)
_LISTED_MAX = 15
_SHOWN_MAX = 300


class SettingRefusedError(RefusedError):
    """The value does not fit the setting."""

    code = "setting_refused"


class SettingsCommands:
    """Answers both commands, in private."""

    def __init__(self, rules: EffectiveRules, models: Callable[[], tuple[str, ...]]) -> None:
        """`models` gives the names of the models that may be chosen."""
        self._rules = rules
        self._models = models

    async def settings(self, request: CommandRequest) -> CommandReply:
        """Show or change what holds in a server or one channel of it.

        Raises:
            SettingRefusedError: in words for the user.
            StoreUnavailableError: it could not be stored.
        """
        if request.guild_id is None:
            return CommandReply("This is for servers. Here `/preferences` sets what you like.")
        if not request.may_manage:
            return CommandReply("This needs the permission to manage the server.")
        name, value = request.options.get("setting", ""), request.options.get("value", "").strip()
        channel_id = self._channel(request)
        if not name:
            return CommandReply(self._shown(request.guild_id))
        if name not in SERVER_CHOICES:
            raise SettingRefusedError(f"I know these settings: {', '.join(SERVER_CHOICES)}.")
        if channel_id is not None and name not in CHANNEL_CHOICES:
            known = ", ".join(sorted(CHANNEL_CHOICES))
            raise SettingRefusedError(f"For a single channel there are: {known}.")
        if not value:
            raise SettingRefusedError("Give a value too; `default` sets it back.")
        place = "this server" if channel_id is None else f"<#{channel_id}>"
        parsed = self._parsed(name, value)

        def change(server: ServerSettings) -> ServerSettings:
            if channel_id is None:
                return _with(server, name, parsed)
            return _with_channel(server, channel_id, name, parsed)

        what = name if channel_id is None else f"{name} of channel {channel_id}"
        await self._rules.change_server(request.guild_id, change, by=request.user_id, what=what)
        return CommandReply(f"Set for {place}: **{name}**.\n\n{self._shown(request.guild_id)}")

    async def preferences(self, request: CommandRequest) -> CommandReply:
        """Show or change what a user likes; raises as `settings` does."""
        name, value = request.options.get("setting", ""), request.options.get("value", "").strip()
        if not name:
            found = await self._rules.preferences(request.user_id)
            return CommandReply(_wishes(found))
        if name not in USER_CHOICES:
            raise SettingRefusedError(f"I know these settings: {', '.join(USER_CHOICES)}.")
        if not value:
            raise SettingRefusedError("Give a value too; `default` sets it back.")
        parsed = self._parsed(name, value)
        if name == "memory" and parsed is None:
            parsed = True
        changed = await self._rules.change_user(
            request.user_id, lambda wishes: _with(wishes, name, parsed), what=name
        )
        return CommandReply(f"Set: **{name}**.\n\n{_wishes(changed)}")

    # ── values ──────────────────────────────────────────────────────────────────────────────────

    def _channel(self, request: CommandRequest) -> int | None:
        given = request.options.get("channel", "")
        return int(given) if given.isdecimal() else None

    def _parsed(self, name: str, value: str) -> Any:
        """The value as the document holds it; None for the default."""
        if value.casefold() in DEFAULT_WORDS:
            return None
        if name == "persona":
            return self._one_of(value, self._rules.personas, "personas")
        if name == "models":
            known = {model: model for model in self._models()}
            words = [word for word in re.split(r"[,\s]+", value) if word]
            return tuple(self._one_of(word, known, "models") for word in words)
        if name in {"roles", "channels"}:
            ids = tuple(int(found) for found in _ID.findall(value))
            if not ids:
                raise SettingRefusedError(f"Name at least one of the {name}, as a mention or id.")
            return ids
        if name in {"streaming", "memory"}:
            return _switch(value)
        if name == "limit":
            if not value.isdecimal():
                raise SettingRefusedError("The limit is a number of messages a minute.")
            return int(value)
        return value.lower()[:5] if name == "language" else value

    def _one_of(self, value: str, known: Mapping[str, object], what: str) -> str:
        for name in known:
            if name.casefold() == value.casefold():
                return name
        names = ", ".join(list(known)[:_LISTED_MAX]) or "none"
        raise SettingRefusedError(f"I have these {what}: {names}.")

    # ── showing ─────────────────────────────────────────────────────────────────────────────────

    def _shown(self, guild_id: int) -> str:
        server = self._rules.server(guild_id)
        roles = " ".join(f"<@&{role}>" for role in server.allowed_roles[:_LISTED_MAX])
        channels = " ".join(f"<#{channel}>" for channel in server.allowed_channels[:_LISTED_MAX])
        limit = server.user_messages_per_minute
        lines = [
            "**Settings of this server**",
            *_place_lines(server),
            f"roles: {roles or 'everybody is answered'}",
            f"channels: {channels or 'all'}",
            f"limit: {f'{limit} messages a minute for each user' if limit else 'default'}",
        ]
        for channel_id, channel in list(server.channels.items())[:_LISTED_MAX]:
            if channel != ChannelSettings():
                lines += [f"**In <#{channel_id}>**", *_place_lines(channel, only_set=True)]
        return "\n".join(lines)


def _place_lines(place: ServerSettings | ChannelSettings, *, only_set: bool = False) -> list[str]:
    streaming = None if place.streaming is None else ("on" if place.streaming else "off")
    words = place.instructions.replace("\n", " ")
    shown = {
        "persona": place.persona,
        "instructions": words[:_SHOWN_MAX] + ("…" if len(words) > _SHOWN_MAX else ""),
        "models": ", ".join(place.models),
        "language": place.language,
        "streaming": streaming,
    }
    return [
        f"{name}: {value or 'default'}" for name, value in shown.items() if value or not only_set
    ]


def _wishes(wishes: Preferences) -> str:
    streaming = "default" if wishes.streaming is None else ("on" if wishes.streaming else "off")
    return "\n".join(
        [
            "**What you like**",
            f"language of my notices: {wishes.language or 'that of your Discord'}",
            f"streaming: {streaming}",
            f"memory: {'on' if wishes.remember else 'off, I keep nothing of what you ask'}",
            f"persona in direct messages: {wishes.persona or 'default'}",
        ]
    )


def _switch(value: str) -> bool:
    word = value.casefold()
    if word in _ON or word in _OFF:
        return word in _ON
    raise SettingRefusedError("Say `on`, `off` or `default`.")


def _with(model: M, name: str, value: object) -> M:
    """A copy with one field set, checked like any other; None sets it back."""
    field = _FIELDS.get(name, name)
    kept = {key: getattr(model, key) for key in type(model).model_fields if key != field}
    return _checked(type(model), name, kept if value is None else {**kept, field: value})


def _with_channel(
    server: ServerSettings, channel_id: int, name: str, value: object
) -> ServerSettings:
    channel = _with(server.channel(channel_id), name, value)
    channels = {**server.channels, str(channel_id): channel}
    if channel == ChannelSettings():
        del channels[str(channel_id)]
    kept = {key: getattr(server, key) for key in ServerSettings.model_fields}
    return _checked(ServerSettings, name, {**kept, "channels": channels})


def _checked(kind: type[M], name: str, values: Mapping[str, object]) -> M:
    try:
        return kind(**values)
    except ValidationError as error:
        said = error.errors(include_url=False, include_context=False, include_input=False)[0]
        words = said["msg"].removeprefix("Value error, ")
        raise SettingRefusedError(f"**{name}**: {words}.") from None
