"""Settings that change while the bot runs: `data/settings.json`, above environment and `.env`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from llmbot.storage.document_kinds import Kind, model_kind

VALUES_MAX = 200


class RuntimeSettings(BaseModel):
    """The values by their flat names, spelled as in the environment or as JSON has them."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    settings: dict[str, str | int | float | bool] = Field(
        default_factory=dict, max_length=VALUES_MAX
    )


SETTINGS: Kind[RuntimeSettings] = model_kind(
    "settings", RuntimeSettings, key="settings", generations_max=30, generation_every_s=0.0
)
