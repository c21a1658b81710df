"""What a user set for themselves, everywhere: one document each.

data/users/<user id>.json
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from llmbot.conversation.rules.server_settings import Language
from llmbot.storage.documents.kinds import Kind, model_kind


class Preferences(BaseModel):
    """One user's wishes; empty means: as the server has it."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
    )

    language: Language = ""
    """Of notices."""
    streaming: bool | None = None
    """Whether answers are shown while they grow."""
    remember: bool = True
    """Whether what they ask, and is answered, goes into the conversation's memory."""
    persona: str = Field(default="", max_length=32)
    """In direct messages: name of one of the bot's personas."""


USERS: Kind[Preferences] = model_kind(
    "user", Preferences, folder="users", generations_max=3, generation_every_s=0.0
)
