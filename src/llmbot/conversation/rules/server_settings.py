"""What the managers of a server set for it, and for single channels of it: one document each.

    data/servers/<server id>.json

Everything has a default, and a server that set nothing has no document. Ids are strings in the
file: as numbers they would lose their last digits in `jq`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

from llmbot.conversation.text.notices import LANGUAGES
from llmbot.storage.documents.kinds import Kind, model_kind

SNOWFLAKE_LIMIT = 2**64
"""Discord's ids are unsigned 64-bit numbers. Source: Discord API reference, "Snowflakes"."""

INSTRUCTIONS_MAX = 4000
ROLES_MAX = 250
"""As many as a server can have. Source: Discord, "Roles"."""
CHANNELS_MAX = 500
"""As many as a server can have, threads aside. Source: Discord API reference, "Create Channel"."""


def _known_language(value: str) -> str:
    if value and value not in LANGUAGES:
        raise ValueError(f"must be empty or one of {', '.join(LANGUAGES)}")
    return value


def number_of(value: object) -> object:
    """An id as documents spell it, or what was given."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


Snowflake = Annotated[
    int,
    Field(gt=0, lt=SNOWFLAKE_LIMIT),
    BeforeValidator(number_of),
    PlainSerializer(str, return_type=str),
]
Language = Annotated[str, AfterValidator(_known_language)]
ModelName = Annotated[str, Field(min_length=1, max_length=100)]
ChannelKey = Annotated[str, Field(pattern=r"^\d{1,20}$")]


class PlaceSettings(BaseModel):
    """What can be set for a server and for a channel of it; empty means: as around it."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
    )

    persona: str = Field(default="", max_length=32)
    """Name of one of the bot's personas."""
    instructions: str = Field(default="", max_length=INSTRUCTIONS_MAX)
    """Words of their own in the place of a persona's."""
    models: tuple[ModelName, ...] = Field(default=(), max_length=20)
    """The models to ask first, in this order; the others follow."""
    language: Language = ""
    """Of notices, in the place of the user's own."""
    streaming: bool | None = None
    """Whether answers are shown while they grow."""


class ChannelSettings(PlaceSettings):
    """What is set for one channel."""


class ServerSettings(PlaceSettings):
    """What is set for one server."""

    allowed_roles: tuple[Snowflake, ...] = Field(default=(), max_length=ROLES_MAX)
    """Who has one of these roles is answered; empty means everybody."""
    allowed_channels: tuple[Snowflake, ...] = Field(default=(), max_length=CHANNELS_MAX)
    """Channels in which the bot answers, their threads included; empty means all."""
    user_messages_per_minute: int = Field(default=0, ge=0, le=10_000)
    """Most messages of one user here; 0 means the bot's own limit."""
    channels: dict[ChannelKey, ChannelSettings] = Field(
        default_factory=dict, max_length=CHANNELS_MAX
    )

    def channel(self, channel_id: int) -> ChannelSettings:
        """What is set for a channel, if anything."""
        return self.channels.get(str(channel_id)) or _NOTHING_SET


_NOTHING_SET = ChannelSettings()

SERVERS: Kind[ServerSettings] = model_kind(
    "server", ServerSettings, folder="servers", generations_max=10, generation_every_s=0.0
)
