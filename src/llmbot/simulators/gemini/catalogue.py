"""The models that are served and what each can do.

What differs from model to model is from
https://ai.google.dev/gemini-api/docs/generate-content/latest-model and /thinking, and from answers
of the live API that people measured and quoted in public threads between July and September 2026.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

_METHODS = ["generateContent", "countTokens", "createCachedContent", "batchGenerateContent"]
_RETIREMENT_OF_2_5 = date(2026, 12, 1)
_ZERO_BUDGET = {"gemini-3.5-flash-lite": "refused", "gemini-2.5-pro": "refused"}
_NO_PREFILL = frozenset({"gemini-3.6-flash", "gemini-3.5-flash-lite"})
# Moving names; the live API knows them under v1beta only.
ALIASES = {
    "gemini-flash-latest": "gemini-3.8-flash",
    "gemini-flash-lite-latest": "gemini-3.5-flash-lite",
}


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model; `retires` is the first day without it.

    `refused_levels` are thinking levels it does not take. `zero_budget` is what a thinking budget
    of 0 does: "honoured", "ignored" (it thinks anyway) or "refused". `prefill` says whether the
    last turn may be the model's own.
    """

    name: str
    display_name: str
    retires: date | None = None
    thinking_levels: bool = True
    refused_levels: frozenset[str] = frozenset()
    zero_budget: str = "honoured"
    prefill: bool = True
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
    strict = name.startswith(("gemini-3.7", "gemini-3.8"))
    return ServedModel(
        name=name,
        display_name=display,
        retires=_RETIREMENT_OF_2_5 if old else None,
        thinking_levels=not old,
        refused_levels=frozenset({"MINIMAL"}) if strict else frozenset(),
        zero_budget=_ZERO_BUDGET.get(name, "ignored" if strict else "honoured"),
        prefill=not strict and name not in _NO_PREFILL,
        thinks_by_default="lite" not in name,
        thinking_budget_max=32_768 if "pro" in name else 24_576,
    )
