"""All runbooks by name."""

from __future__ import annotations

from collections.abc import Mapping

from llmbot.operations.catalog.discord import DISCORD_RUNBOOKS
from llmbot.operations.catalog.internal import HOUSE_RUNBOOKS
from llmbot.operations.catalog.load import LOAD_RUNBOOKS
from llmbot.operations.catalog.models import MODEL_RUNBOOKS
from llmbot.operations.runbook import Runbook

RUNBOOKS: Mapping[str, Runbook] = {
    runbook.name: runbook
    for runbook in (*MODEL_RUNBOOKS, *DISCORD_RUNBOOKS, *LOAD_RUNBOOKS, *HOUSE_RUNBOOKS)
}
