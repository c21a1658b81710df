"""What may stand in the body of an action's request: all of it optional, every field bounded.

Actions that have options refuse unknown fields, so that a misspelt one does not make the action do
more than was meant, and take nothing for what it is not: `0` is no switch, `"5"` no number. The
runbook's tests send fields that belong to one another; those are ignored.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "DegradationOptions",
    "MaintenanceOptions",
    "MessageOptions",
    "NoOptions",
    "PlainOptions",
    "PromptOptions",
    "QuestionOptions",
    "RateLimitOptions",
    "RestoreOptions",
    "SettingsOptions",
    "TestCommandOptions",
    "TripOptions",
]

Reason = Annotated[str, Field(max_length=200, description="why, for the audit and the log")]
Text = Annotated[str, Field(min_length=1, max_length=1500)]


class NoOptions(BaseModel):
    """An action without options; whatever else is sent is not looked at."""

    model_config = ConfigDict(extra="ignore", strict=True)

    reason: Reason = ""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    reason: Reason = ""


class MaintenanceOptions(_Strict):
    """Why there is maintenance."""


class DegradationOptions(_Strict):
    """Which level to hold."""

    level: Literal["none", "low", "medium", "high"] = "medium"


class TripOptions(_Strict):
    """For how long; without it until the breaker is reset."""

    seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None


class RateLimitOptions(_Strict):
    """What to reset; without it everything."""

    scope: (
        Annotated[
            str,
            Field(
                min_length=1,
                max_length=200,
                pattern=r"^[a-z]+(:.+)?$",
                description="kind:name, or a kind: model, user, channel, guild",
            ),
        ]
        | None
    ) = None


class RestoreOptions(_Strict):
    """Which generation; without it the newest that is valid."""

    at: Annotated[datetime, Field(description="RFC 3339: as it was then")] | None = None


class SettingsOptions(_Strict):
    """Which settings to change; what may be changed is told by `GET /api/admin/config/settings`."""

    settings: dict[str, str | bool | int | Annotated[float, Field(allow_inf_nan=False)]] = Field(
        default_factory=dict, max_length=50, description="new values by name"
    )
    reset: list[Annotated[str, Field(max_length=64)]] = Field(
        default_factory=list, max_length=50, description="names to give their former value back"
    )
    dry_run: Annotated[
        bool, Field(alias="dryRun", description="only check, and tell what would change")
    ] = False


class PlainOptions(BaseModel):
    """A test without options."""

    model_config = ConfigDict(extra="ignore", strict=True)


class MessageOptions(PlainOptions):
    """What to say."""

    message: Text = "test"


class QuestionOptions(PlainOptions):
    """What to ask; a question of our own where nothing is said."""

    message: Text | None = None


class PromptOptions(PlainOptions):
    """What to ask."""

    prompt: Annotated[str, Field(min_length=1, max_length=500)] = "Answer with one word: pong"


class TestCommandOptions(PlainOptions):
    """Which command, and as whom."""

    __test__ = False  # pytest takes every class that is called so for a test

    command: Annotated[str, Field(min_length=1, max_length=32)] = "ping"
    user_id: Annotated[str, Field(alias="userId", max_length=64)] = "test"
    channel_id: Annotated[str, Field(alias="channelId", max_length=64)] = ""
    options: dict[Annotated[str, Field(max_length=32)], Annotated[str, Field(max_length=1500)]] = (
        Field(default_factory=dict, max_length=10)
    )
    may_manage: Annotated[bool, Field(alias="mayManage")] = False
