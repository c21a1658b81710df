"""The only place that constructs: every part is made here and handed what it needs.

`build` reads like the architecture: mechanisms, edges, conversation, services; the list of services
is the supervision tree. `run_bot` gives the whole its life and its end.
"""

from __future__ import annotations

from typing import Literal

Mode = Literal["live", "simulated"]

RETENTION_S = 30 * 86_400.0
"""How long the record of an ended message is kept: far longer than anything can come again."""

QUEUE_HARD_FACTOR = 4
"""Memory holds at most so many times the queue's capacity, even while nothing can be shed."""


@dataclass(frozen=True, slots=True)
class House:
    """What every part may be handed."""

    settings: Settings
    mode: Mode
    clock: Clock
    rng: Random
    bus: EventBus
    owner: Owner


@dataclass(frozen=True, slots=True)
class Mechanisms:
    """What keeps trouble small and what was accepted."""

    database: Database
    store: JobStore
    breakers: Breakers
    queue: JobQueue
    claims: Claims
    slots: Slots
    model_limits: ModelLimits
    user_limits: UserLimits


@dataclass(frozen=True, slots=True)
class Edges:
    """The outside: Discord, files, models."""

    discord: DiscordConnection
    fetcher: HttpFileFetcher
    chain: ModelChain

    def our_id(self) -> int | None:
        """The bot's user id, once Discord has told it."""
        return self.discord.facts().user_id


@dataclass(frozen=True, slots=True)
class Conversation:
    """The data plane."""

    inbox: Inbox
    recent: RecentMessages
    context: ContextBuilder
    generation: Generation
    delivery: Delivery
    admission: Admission
    acknowledgement: Acknowledgement
    pipeline: Pipeline
    workers: Workers
    catch_up: CatchUp


@dataclass(frozen=True, slots=True)
class Bot:
    """All parts of a running bot."""

    house: House
    mechanisms: Mechanisms
    edges: Edges
    conversation: Conversation
    supervisor: Supervisor


def build_mechanisms(house: House) -> Mechanisms:
    """Database, queue, breakers, limits."""
    settings, bus, clock = house.settings, house.bus, house.clock
    database = open_database(
        settings.storage.database,
        migrations=MIGRATIONS,
        clock=clock,
        owner=str(house.owner),
        announce=bus.publish,
    )
    store = JobStore(database, clock, house.owner)
    capacity = settings.limits.queue_capacity
    return Mechanisms(
        database=database,
        store=store,
        breakers=Breakers(clock, bus, random=house.rng),
        queue=JobQueue(store, bus, clock, capacity=capacity, hard_max=capacity * QUEUE_HARD_FACTOR),
        claims=Claims(store, bus, clock),
        slots=build_slots(settings),
        model_limits=build_model_limits(house),
        user_limits=build_user_limits(house),
    )


def build_edges(house: House, mechanisms: Mechanisms, inbox: Inbox) -> Edges:
    """Discord, files and models."""
    settings = house.settings
    store = mechanisms.store
    discord = DiscordConnection(
        token=settings.discord.token.get_secret_value(),
        api_base_url=settings.discord.api_base_url,
        handler=inbox,
        bus=house.bus,
        clock=house.clock,
        rng=house.rng,
        commands=DEFINITIONS,
        command_memory=(
            lambda: store.meta("commands_hash"),
            lambda value: store.set_meta("commands_hash", value),
        ),
    )
    return Edges(
        discord=discord,
        fetcher=HttpFileFetcher(),
        chain=build_chain(settings, mechanisms.breakers, mechanisms.model_limits, house.clock),
    )


def build_conversation(
    house: House, mechanisms: Mechanisms, edges: Edges, inbox: Inbox, recent: RecentMessages
) -> Conversation:
    """The data plane, in the order of `pipeline.py`."""
    settings, bus, clock = house.settings, house.bus, house.clock
    store, queue, rest = mechanisms.store, mechanisms.queue, edges.discord.rest
    admission = Admission(clock, mechanisms.user_limits, edges.our_id, admission_settings(settings))
    context = ContextBuilder(
        rest,
        recent,
        Memory(mechanisms.database),
        AttachmentReader(edges.fetcher, attachment_settings(settings, house.mode)),
        edges.our_id,
        context_settings(settings),
    )
    generation = Generation(edges.chain.candidates, bus, clock, generation_settings(settings))
    delivery = Delivery(
        rest,
        store,
        clock,
        Pace(clock, settings.streaming.edit_interval_s),
        DeliverySettings(settle_s=settings.streaming.settle_ms / 1000),
    )
    acknowledgement = Acknowledgement(
        queue, bus, clock, memory_turns=MEMORY_TURNS, memory_text=MEMORY_TEXT
    )
    trouble = Trouble(
        queue,
        acknowledgement,
        admission,
        bus,
        clock,
        house.rng,
        TroubleSettings(attempts_max=settings.limits.attempts_max),
    )
    pipeline = Pipeline(admission, context, generation, delivery, acknowledgement, trouble, clock)
    backfill = Backfill(rest, inbox, store, bus, clock, edges.our_id, BackfillSettings())
    return Conversation(
        inbox=inbox,
        recent=recent,
        context=context,
        generation=generation,
        delivery=delivery,
        admission=admission,
        acknowledgement=acknowledgement,
        pipeline=pipeline,
        workers=Workers(queue, pipeline.answer, mechanisms.slots, bus),
        catch_up=CatchUp(backfill, store, clock),
    )
