"""Put together: what people are told while they wait, and how they come back in turn."""

from __future__ import annotations

from llmbot.app.parts import Edges, House, Mechanisms, Patience
from llmbot.app.settings.translate import announcement_settings
from llmbot.conversation.controls import Controls
from llmbot.conversation.delivery import Delivery
from llmbot.conversation.generation import Generation
from llmbot.conversation.ledger.dead_letters import DeadLetters
from llmbot.conversation.replies.discord_guard import GuardedDiscord
from llmbot.conversation.waiting.announcements import Announcements
from llmbot.conversation.waiting.load import Load
from llmbot.conversation.waiting.parking import Away, Parking
from llmbot.operations.assess import Assessor, Outages
from llmbot.resilience.breaker_facts import BreakerState

MIB = 1024 * 1024

READY_FACTOR = 2
"""While so many times the workers are ready to be served, no parked message is added to them."""

ROOM_LEAST_FACTOR = 4
"""So many times the workers may always wait, whatever the forecast says."""


def build_patience(
    house: House,
    mechanisms: Mechanisms,
    generation: Generation,
    delivery: Delivery,
    discord: GuardedDiscord,
) -> Patience:
    """Forecasts, the parking of what waits for models and Discord, and the announcements."""
    queue, pool, bus, clock = mechanisms.queue, mechanisms.pool, house.bus, house.clock
    limits = house.settings.limits
    load = Load(bus, pool, lambda: len(queue), queue.turns_before, generation.prospect)
    parking = Parking(
        queue,
        {Away.MODEL: generation.prospect, Away.DISCORD: discord.prospect},
        lambda: READY_FACTOR * pool.limit - (len(queue) - len(parking)),
        bus,
        clock,
    )
    announcements = Announcements(
        queue, delivery, load, mechanisms.modes, bus, clock, announcement_settings(house.settings)
    )

    def room() -> int | None:
        """How many may wait: those that are served in good time, and those that are parked."""
        if not (generation.prospect().ready and discord.prospect().ready):
            # Nobody can be served or told: shedding would fail, queue again, and spin.
            return None
        least = ROOM_LEAST_FACTOR * limits.workers_max
        served = load.room(limits.queue_wait_max_s, least=least)
        return None if served is None else served + len(parking)

    delivery.words_for_silence = announcements.words_for_silence
    queue.entered = announcements.entered
    queue.room = room
    return Patience(load, parking, announcements)


def build_assessor(
    house: House, mechanisms: Mechanisms, edges: Edges, generation: Generation
) -> Assessor:
    """The readings of the ladder of degradation."""
    queue = mechanisms.queue
    memory_max = house.settings.limits.memory_limit_mb * MIB
    return Assessor(
        mechanisms.modes.ladder,
        mechanisms.stats,
        _outages(mechanisms, edges, generation),
        lambda: len(queue) / queue.facts().capacity,
        lambda: edges.host.resident_bytes() / memory_max,
        house.clock,
    )


def _outages(mechanisms: Mechanisms, edges: Edges, generation: Generation) -> Outages:
    """What cannot be used: Discord, each provider, and the chain of models as a whole.

    A single model's used-up quota is none: the next one serves, and nothing need be given up.
    """
    names: tuple[str, ...] = ("discord", *edges.chain.providers)
    breakers = mechanisms.breakers

    def unusable(name: str) -> bool:
        breaker = breakers.find(name)
        return breaker is not None and breaker.state is not BreakerState.CLOSED

    def look() -> tuple[tuple[str, ...], int]:
        found = tuple(name for name in names if unusable(name))
        chain = () if generation.prospect().ready else ("every model",)
        return (*found, *chain), len(names) + 1

    return look


def build_controls(mechanisms: Mechanisms) -> Controls:
    """The operator's hand on the conversation."""
    return Controls(
        modes=mechanisms.modes,
        queue=mechanisms.queue,
        pool=mechanisms.pool,
        breakers=mechanisms.breakers,
        limits=mechanisms.limits,
        letters=DeadLetters(mechanisms.database, mechanisms.store),
    )
