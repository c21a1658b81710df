"""The parts that tell people what they wait for, put together for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llmbot.conversation.delivery import Delivery
from llmbot.conversation.generation import Candidate, Generation
from llmbot.conversation.models.guards import ModelGuard, ModelLimits
from llmbot.conversation.modes import Modes
from llmbot.conversation.queue import JobQueue
from llmbot.conversation.replies.discord_guard import GuardedDiscord
from llmbot.conversation.waiting.announcements import Announcements, AnnouncementSettings
from llmbot.conversation.waiting.load import Load
from llmbot.conversation.waiting.parking import Away, Parking
from llmbot.kernel.clock import Clock
from llmbot.kernel.events import EventBus
from llmbot.resilience.breaker_facts import BreakerSettings
from llmbot.resilience.breakers import Breakers
from llmbot.resilience.concurrency import AdaptivePool
from tests.support.models import ScriptedModel


def chain_of(
    models: Sequence[ScriptedModel],
    breakers: Breakers,
    limits: ModelLimits,
    quick: BreakerSettings | None,
) -> list[Candidate]:
    """The models in their order, each behind its guards."""
    of_model = replace(quick or BreakerSettings(), named_wait_opens=True)
    return [
        Candidate(
            model,
            ModelGuard(
                model.name,
                breakers.get(model.provider, quick),
                breakers.get(model.name, of_model),
                limits,
            ),
        )
        for model in models
    ]


@dataclass(frozen=True, slots=True)
class Patience:
    """Forecasts, the parking, and who speaks to those in line."""

    load: Load
    parking: Parking
    announcements: Announcements


def patience_of(
    queue: JobQueue,
    pool: AdaptivePool,
    generation: Generation,
    discord: GuardedDiscord,
    delivery: Delivery,
    modes: Modes,
    bus: EventBus,
    clock: Clock,
    settings: AnnouncementSettings | None,
) -> Patience:
    """As `app/patience.py` puts them together, without the shedding of those who wait too long."""
    load = Load(bus, pool, lambda: len(queue), queue.turns_before, generation.prospect)
    prospects = {Away.MODEL: generation.prospect, Away.DISCORD: discord.prospect}
    parking = Parking(queue, prospects, lambda: pool.limit, bus, clock)
    settings = settings or AnnouncementSettings(silence_s=delivery.settings.silence_s)
    announcements = Announcements(queue, delivery, load, modes, bus, clock, settings)
    delivery.words_for_silence = announcements.words_for_silence
    queue.entered = announcements.entered
    return Patience(load, parking, announcements)
