"""The chain of models from the settings, each behind its guard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from llmbot.adapters.models.gemini import GeminiModels
from llmbot.adapters.models.openai_compatible import OpenAiCompatibleModels
from llmbot.app.settings.tree import Settings
from llmbot.conversation.generation import Candidate
from llmbot.conversation.models.guards import ModelGuard, ModelLimits
from llmbot.conversation.ports import Model
from llmbot.kernel.clock import Clock
from llmbot.resilience.breaker_facts import BreakerSettings
from llmbot.resilience.breakers import Breakers

GEMINI = "gemini"

PROVIDER_BREAKER = BreakerSettings(pause_s=1.5, pause_max_s=4.0)
MODEL_BREAKER = BreakerSettings(pause_s=1.5, pause_max_s=4.0, named_wait_opens=True)
"""The longest pause is about how long the end of an outage may go unnoticed; one probe in four
seconds is no load for a provider. A quota names its wait: the model is left alone for so long."""


class Provider(Protocol):
    """One address and key with its models."""

    def model(self, name: str) -> Model:
        """A model by its name."""
        ...

    async def list_models(self) -> list[str]:
        """The names that the provider knows; proves the credentials."""
        ...

    def reopen(self) -> None:
        """Serve again after `close`."""
        ...

    async def client(self) -> object:
        """Load the provider's library and make its client; done once."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


@dataclass(frozen=True, slots=True)
class ModelChain:
    """The models in the order in which they are asked, and their providers by name."""

    candidates: tuple[Candidate, ...]
    providers: dict[str, Provider]

    def names(self) -> tuple[str, ...]:
        """The models that there are to choose from."""
        return tuple(candidate.model.name for candidate in self.candidates)

    async def warm_up(self) -> None:
        """Serve, also after `close`; the providers' libraries are loaded before the first message.

        Raises:
            LlmbotError: a key is no key at all.
        """
        for provider in self.providers.values():
            provider.reopen()
            await provider.client()

    async def close(self) -> None:
        """Close every provider."""
        for provider in self.providers.values():
            await provider.close()


def build_chain(
    settings: Settings, breakers: Breakers, limits: ModelLimits, clock: Clock
) -> ModelChain:
    """Gemini's models first, then those of each further provider.

    Raises:
        SettingsError: a further provider needs a package that is not installed.
    """
    providers: dict[str, Provider] = {}
    candidates: list[Candidate] = []
    if settings.gemini.api_key.get_secret_value():
        gemini = GeminiModels(
            api_key=settings.gemini.api_key.get_secret_value(),
            base_url=settings.gemini.base_url,
            clock=clock,
        )
        providers[GEMINI] = gemini
        names = settings.gemini.models
        candidates += _guarded(GEMINI, gemini, names, breakers, limits)
    for fallback in settings.fallbacks:
        provider = OpenAiCompatibleModels(
            provider=fallback.label,
            api_key=fallback.api_key.get_secret_value(),
            base_url=fallback.base_url,
            clock=clock,
        )
        providers[fallback.label] = provider
        candidates += _guarded(fallback.label, provider, fallback.models, breakers, limits)
    return ModelChain(tuple(candidates), providers)


def _guarded(
    label: str,
    provider: OpenAiCompatibleModels | GeminiModels,
    names: Sequence[str],
    breakers: Breakers,
    limits: ModelLimits,
) -> list[Candidate]:
    of_provider = breakers.get(label, PROVIDER_BREAKER)
    guarded = []
    for name in names:
        of_model = breakers.get(f"{label}:{name}", MODEL_BREAKER)
        guard = ModelGuard(f"{label}:{name}", of_provider, of_model, limits)
        guarded.append(Candidate(provider.model(name), guard))
    return guarded
