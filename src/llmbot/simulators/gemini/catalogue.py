"""The models that are served and what each can do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

_METHODS = ["generateContent", "countTokens", "createCachedContent", "batchGenerateContent"]
_RETIREMENT_OF_2_5 = date(2026, 12, 1)
# Moving names; the live API knows them under v1beta only.
ALIASES = {
    "gemini-flash-latest": "gemini-3.8-flash",
    "gemini-flash-lite-latest": "gemini-3.5-flash-lite",
}


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model; `thinking_budget_max` tokens, `retires` is the first day without it."""

    name: str
    display_name: str
    retires: date | None = None
    thinking_levels: bool = True
    thinks_by_default: bool = True
    thinking_budget_max: int = 24_576
    input_token_limit: int = 1_048_576
    output_token_limit: int = 65_536

    def served_on(self, day: date) -> bool:
        """Whether the model still answers on that day."""
        return self.retires is None or day < self.retires

    def body(self) -> dict[str, Any]:
        """The model as ListModels and GetModel show it."""
        return {
            "name": f"models/{self.name}",
            "version": self.name.removeprefix("gemini-"),
            "displayName": self.display_name,
            "description": f"{self.display_name}: fast, multimodal, thinking (simulated).",
            "inputTokenLimit": self.input_token_limit,
            "outputTokenLimit": self.output_token_limit,
            "supportedGenerationMethods": list(_METHODS),
            "temperature": 1,
            "topP": 0.95,
            "topK": 64,
            "maxTemperature": 2,
            "thinking": True,
        }


def describe(name: str) -> ServedModel:
    """The facts of a model by its name; a name nobody knows is served like the newest Flash."""
    display = " ".join(word.capitalize() for word in name.split("-"))
    old = name.startswith("gemini-2.5")
    return ServedModel(
        name=name,
        display_name=display,
        retires=_RETIREMENT_OF_2_5 if old else None,
        thinking_levels=not old,
        thinks_by_default="lite" not in name,
        thinking_budget_max=32_768 if "pro" in name else 24_576,
    )
