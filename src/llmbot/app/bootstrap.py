"""The only place that constructs: every part is made here and handed what it needs.

`build` reads like the architecture; its list of services is the supervision tree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from llmbot.adapters.discord.command_sync import CommandMemory
from llmbot.adapters.discord.files import HttpFileFetcher
from llmbot.adapters.discord.gateway import DiscordConnection
from llmbot.adapters.host import Host
from llmbot.adapters.models.pictures import PictureConverter
from llmbot.app.contexts import build_context, build_large_contexts, build_summaries
from llmbot.app.documents import build_documents, build_store
from llmbot.app.lifecycle.supervision_tree import build_supervisor
from llmbot.app.lifecycle.supervisor import Service
from llmbot.app.limits import Limits
from llmbot.app.models import build_chain
from llmbot.app.parts import Bot, Conversation, Edges, House, Mechanisms
from llmbot.app.patience import build_assessor, build_controls, build_patience
from llmbot.app.reconciling import build_reconciler
from llmbot.app.settings.reload_apply import apply_settings
from llmbot.app.settings.translate import (
    administrators_of,
    admission_settings,
    cache_settings,
    delivery_settings,
    generation_settings,
    loop_share_settings,
    pool_settings,
    trouble_settings,
)
from llmbot.console.discord_admin import ADMIN
from llmbot.conversation.acknowledgement import Acknowledgement
from llmbot.conversation.admission import Admission
from llmbot.conversation.claim import Claims
from llmbot.conversation.commands.definitions import DEFINITIONS
from llmbot.conversation.commands.handlers import BotState, Commands, Handler
from llmbot.conversation.commands.privacy import PrivacyCommand
from llmbot.conversation.commands.settings import SettingsCommands
from llmbot.conversation.delivery import Delivery
from llmbot.conversation.generation import Generation
from llmbot.conversation.inbound import Inbox
from llmbot.conversation.intake.switchboard import Switchboard
from llmbot.conversation.lanes import Lanes
from llmbot.conversation.large_context import LargeContexts
from llmbot.conversation.ledger.job_store import JobStore
from llmbot.conversation.ledger.schema import MIGRATIONS
from llmbot.conversation.memory.erasing import erase_message
from llmbot.conversation.memory.privacy import Privacy, UserLimits
from llmbot.conversation.memory.recent import RecentMessages
from llmbot.conversation.missed.backfill import Backfill, BackfillSettings
from llmbot.conversation.missed.catchup import CatchUp
from llmbot.conversation.models.answer_cache import AnswerCache
from llmbot.conversation.modes import Modes
from llmbot.conversation.pipeline import Pipeline
from llmbot.conversation.ports import GatewayHandler
from llmbot.conversation.queue import JobQueue
from llmbot.conversation.replies.direct_message import Elsewhere
from llmbot.conversation.replies.discord_guard import DISCORD_BREAKER, GuardedDiscord
from llmbot.conversation.replies.pace import Pace
from llmbot.conversation.rules.inbound_filter import InboundFilter
from llmbot.conversation.trouble import Trouble
from llmbot.conversation.turns import Turns
from llmbot.conversation.workers import Workers
from llmbot.operations.stats import Stats
from llmbot.resilience.breakers import Breakers
from llmbot.resilience.concurrency import AdaptivePool
from llmbot.resilience.degradation import DegradationLadder
from llmbot.resilience.loop_share import LoopShare
from llmbot.resilience.retry import RetryPolicy
from llmbot.storage.database.opening import Database, open_database
from llmbot.storage.documents.store import DocumentStore

MEMORY_TEXT = 4000
"""Characters kept of each turn."""


QUEUE_HARD_FACTOR = 4
"""Memory holds at most so many times the queue's capacity, even while nothing can be shed."""


def build_database(house: House) -> Database:
    """The database of the settings."""
    return open_database(
        house.settings.storage.database,
        migrations=MIGRATIONS,
        clock=house.clock,
        owner=str(house.owner),
        announce=house.bus.publish,
    )


def build_mechanisms(house: House, database: Database, documents: DocumentStore) -> Mechanisms:
    """Queue, breakers, limits, on a database; settings and the like, on documents."""
    settings, bus, clock = house.settings, house.bus, house.clock
    store = JobStore(database, clock, house.owner)
    capacity = settings.limits.queue_capacity
    queue = JobQueue(store, bus, clock, capacity=capacity, hard_max=capacity * QUEUE_HARD_FACTOR)
    return Mechanisms(
        database=database,
        store=store,
        breakers=Breakers(clock, bus, random=house.rng),
        queue=queue,
        claims=Claims(store, bus, clock),
        limits=Limits(settings, database, clock),
        pool=AdaptivePool(
            clock,
            pool_settings(settings),
            loop_share=LoopShare(loop_share_settings(settings)),
        ),
        modes=Modes(DegradationLadder(clock, bus), queue, store, bus, clock),
        stats=Stats(clock, bus),
        documents=build_documents(house, documents, database),
    )


def build_edges(house: House, mechanisms: Mechanisms, handler: GatewayHandler) -> Edges:
    """Discord, files and models; the gateway is heard by `handler`."""
    settings = house.settings
    store = mechanisms.store
    discord = DiscordConnection(
        token=settings.discord.token.get_secret_value(),
        api_base_url=settings.discord.api_base_url,
        handler=InboundFilter(handler, mechanisms.documents.rules.judged),
        bus=house.bus,
        clock=house.clock,
        rng=house.rng,
        commands=(*DEFINITIONS, ADMIN) if administrators_of(settings) else DEFINITIONS,
        command_memory=CommandMemory(
            lambda application: store.meta(f"commands:{application}"),
            lambda application, value: store.set_meta(f"commands:{application}", value),
        ),
    )
    return Edges(
        discord=discord,
        fetcher=HttpFileFetcher(),
        pictures=PictureConverter(),
        host=Host(),
        chain=build_chain(settings, mechanisms.breakers, mechanisms.limits, house.clock),
    )


def build_delivery(house: House, mechanisms: Mechanisms, rest: GuardedDiscord) -> Delivery:
    """How replies are shown."""
    settings, modes = house.settings, mechanisms.modes
    return Delivery(
        rest,
        mechanisms.store,
        house.clock,
        Pace(house.clock, settings.streaming.edit_interval_s),
        delivery_settings(settings),
        streaming=lambda: modes.switches.streaming_edits,
        was_unclean=lambda: mechanisms.database.was_unclean,
    )


def build_privacy(
    house: House,
    mechanisms: Mechanisms,
    recent: RecentMessages,
    cache: AnswerCache,
    large: LargeContexts,
) -> Privacy:
    """What is kept of a user, wherever it is."""
    documents, limits = mechanisms.documents, mechanisms.limits
    privacy = Privacy(
        documents.store,
        documents.memory,
        mechanisms.database,
        mechanisms.queue,
        UserLimits(limits.told_of, limits.forget_user),
        house.bus,
        house.clock,
    )

    def forgotten(user_id: int) -> None:
        recent.forget()
        cache.clear()
        large.mending.forget(user_id)

    privacy.forgotten = forgotten
    return privacy


def build_conversation(
    house: House, mechanisms: Mechanisms, edges: Edges, inbox: Inbox, recent: RecentMessages
) -> Conversation:
    """The data plane, in the order of `pipeline.py`."""
    settings, bus, clock = house.settings, house.bus, house.clock
    store, queue, documents = mechanisms.store, mechanisms.queue, mechanisms.documents
    held_s = mechanisms.modes.held_s
    rest = GuardedDiscord(edges.discord.rest, mechanisms.breakers.get("discord", DISCORD_BREAKER))
    admission = Admission(
        clock, mechanisms.limits, edges.our_id, admission_settings(settings), held_s=held_s
    )
    context = build_context(house, mechanisms, edges, rest, recent)
    retries = RetryPolicy(random=house.rng)
    generation = Generation(
        edges.chain.candidates, retries, bus, clock, generation_settings(settings)
    )
    delivery = build_delivery(house, mechanisms, rest)
    patience = build_patience(house, mechanisms, generation, delivery, rest)
    cache = AnswerCache(clock, settings.personas.instructions, cache_settings(settings))
    acknowledgement = Acknowledgement(queue, documents.memory, bus, clock, memory_text=MEMORY_TEXT)
    trouble = Trouble(
        queue, acknowledgement, admission, bus, clock, house.rng, trouble_settings(settings),
        parking=patience.parking, load=patience.load, held_s=held_s,
    )  # fmt: skip
    elsewhere = Elsewhere(rest, documents.rules.judged, bus)
    trouble.tell_elsewhere, inbox.muted = elsewhere.tell, elsewhere.muted
    inbox.references.look_up = rest.message
    large = build_large_contexts(house, mechanisms, rest, context, generation, delivery)
    pipeline = Pipeline(
        admission, context, generation, delivery, acknowledgement, trouble, patience.announcements,
        cache, inbox.changes, Turns(house.mutexes), stand_in_note=settings.streaming.stand_in_note,
        rules=documents.rules,
        large=large,
    )  # fmt: skip
    lanes = Lanes(pipeline, lambda message_id: erase_message(mechanisms.database, message_id))
    backfill = Backfill(rest, inbox, queue, store, bus, clock, edges.our_id, BackfillSettings())
    backfill.judged = documents.rules.judged
    workers = Workers(queue, lanes.answer, lanes.shed, mechanisms.pool, bus)
    return Conversation(
        inbox=inbox,
        recent=recent,
        context=context,
        generation=generation,
        delivery=delivery,
        admission=admission,
        acknowledgement=acknowledgement,
        pipeline=pipeline,
        lanes=lanes,
        workers=workers,
        catch_up=CatchUp(backfill, store, clock),
        discord=rest,
        patience=patience,
        cache=cache,
        large=large,
        summaries=build_summaries(house, mechanisms, generation),
        privacy=build_privacy(house, mechanisms, recent, cache, large),
        controls=build_controls(mechanisms),
        assessor=build_assessor(house, mechanisms, edges, generation),
        reconciler=build_reconciler(house, mechanisms, rest, inbox, workers, acknowledgement),
    )


@dataclass(frozen=True, slots=True)
class Outside:
    """How all that touches disk and network is made; a simulation makes its own."""

    database: Callable[[House], Database] = build_database
    documents: Callable[[House], DocumentStore] = build_store
    edges: Callable[[House, Mechanisms, GatewayHandler], Edges] = build_edges


def build(
    house: House,
    state: Callable[[], BotState],
    first: Sequence[Service] = (),
    outside: Outside | None = None,
    commands: Mapping[str, Handler] | None = None,
) -> Bot:
    """A bot, put together and not started; `state` tells how it is, for commands and presence.

    The services in `first` need none of its own; `commands` handle slash commands beside its own.

    Raises:
        StartupError: a setting is wrong.
    """
    outside = outside or Outside()
    mechanisms = build_mechanisms(house, outside.database(house), outside.documents(house))
    recent = RecentMessages()
    inbox = Inbox(
        mechanisms.claims, mechanisms.queue, mechanisms.store, recent, house.bus, house.clock
    )
    switchboard = Switchboard(inbox)
    edges = outside.edges(house, mechanisms, switchboard)
    conversation = build_conversation(house, mechanisms, edges, inbox, recent)
    inbox.session_ready = conversation.catch_up.session_ready
    supervisor = build_supervisor(house, mechanisms, edges, conversation, state, first)
    rules = mechanisms.documents.rules
    mechanisms.limits.member_limit = rules.user_limit
    mechanisms.documents.reloader.apply = lambda new: apply_settings(new, mechanisms, conversation)
    settings = SettingsCommands(rules, edges.chain.names)

    def make_commands() -> Commands:
        return Commands(
            inbox,
            mechanisms.documents.memory,
            conversation.context,
            state,
            house.bus,
            house.clock,
            busy=lambda: not mechanisms.modes.switches.non_essential_commands,
            on_clear=conversation.cache.forget,
            more={
                "settings": settings.settings,
                "preferences": settings.preferences,
                "privacy": PrivacyCommand(conversation.privacy).privacy,
                **(commands or {}),
            },
            allows=rules.allows,
        )

    inbox.commands = make_commands().handle
    mechanisms.queue.shed = conversation.workers.shed
    return Bot(house, mechanisms, edges, conversation, supervisor, switchboard, make_commands)
