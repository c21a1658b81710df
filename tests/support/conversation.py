"""A whole conversation around stand-ins: real queue, real database, real pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from llmbot.adapters.models.pictures import PictureConverter
from llmbot.conversation.acknowledgement import Acknowledgement
from llmbot.conversation.admission import Admission, AdmissionSettings
from llmbot.conversation.attachments import AttachmentReader, AttachmentSettings
from llmbot.conversation.claim import Claims
from llmbot.conversation.context import ContextBuilder, ContextSettings
from llmbot.conversation.controls import Controls
from llmbot.conversation.delivery import Delivery, DeliverySettings
from llmbot.conversation.generation import Generation, GenerationSettings
from llmbot.conversation.inbound import Inbox
from llmbot.conversation.large.facts import LargeContextSettings
from llmbot.conversation.large.files import ContextFiles
from llmbot.conversation.large.reading import Reader
from llmbot.conversation.large.retention import ContextKeeper
from llmbot.conversation.large.retries import Mending
from llmbot.conversation.large.sources import HistoryReader
from llmbot.conversation.large.writing import ContextWriter
from llmbot.conversation.large_context import LargeContexts
from llmbot.conversation.ledger.dead_letters import DeadLetters
from llmbot.conversation.ledger.job_store import JobStore
from llmbot.conversation.ledger.schema import MIGRATIONS
from llmbot.conversation.memory.conversations import CONVERSATIONS
from llmbot.conversation.memory.documents import ConversationMemory
from llmbot.conversation.memory.journal import MemoryJournal
from llmbot.conversation.memory.recent import RecentMessages
from llmbot.conversation.messages import ChannelMessage, Inbound
from llmbot.conversation.missed.backfill import Backfill, BackfillSettings
from llmbot.conversation.missed.catchup import CatchUp
from llmbot.conversation.models.answer_cache import AnswerCache, CacheSettings
from llmbot.conversation.modes import Modes
from llmbot.conversation.pipeline import Pipeline
from llmbot.conversation.ports import DiscordRest
from llmbot.conversation.queue import JobQueue
from llmbot.conversation.replies.direct_message import Elsewhere
from llmbot.conversation.replies.discord_guard import DISCORD_BREAKER, GuardedDiscord
from llmbot.conversation.replies.pace import Pace
from llmbot.conversation.rules.effective import EffectiveRules, Personas
from llmbot.conversation.rules.preferences import USERS
from llmbot.conversation.rules.server_settings import SERVERS
from llmbot.conversation.trouble import Trouble, TroubleSettings
from llmbot.conversation.turns import Turns
from llmbot.conversation.waiting.announcements import Announcements, AnnouncementSettings
from llmbot.conversation.waiting.load import Load
from llmbot.conversation.waiting.parking import Parking
from llmbot.conversation.workers import Workers
from llmbot.kernel.clock import Clock, Random, SystemClock
from llmbot.kernel.errors import DiscordUnavailableError, ModelRateLimitedError
from llmbot.kernel.events import EventBus, ReplyDelivered
from llmbot.kernel.ids import snowflake_at, this_owner
from llmbot.resilience.breaker_facts import BreakerSettings
from llmbot.resilience.breakers import Breakers
from llmbot.resilience.concurrency import AdaptivePool, PoolSettings
from llmbot.resilience.degradation import DegradationLadder
from llmbot.resilience.limits import WindowFacts
from llmbot.resilience.mutex import Mutexes
from llmbot.resilience.retry import RetryPolicy, RetrySettings
from llmbot.storage.database.opening import Database, open_database
from llmbot.storage.documents.kinds import Kinds
from llmbot.storage.documents.store import DocumentStore
from llmbot.storage.filesystem import FileSystem, RealFileSystem
from tests.support.discord import OUR_ID, MemoryDiscord
from tests.support.models import ScriptedModel
from tests.support.patience import chain_of, patience_of
from tests.support.waiting import PATIENCE_S

UNHURRIED = DeliverySettings(typing_after_s=PATIENCE_S, silence_s=PATIENCE_S)
"""However slow the machine is, nobody is told so: a test that wants that says after how long."""


class NoLimits:
    """Lets everything through, and everyone unless a test gives a wait."""

    def __init__(self) -> None:
        self.wait: Callable[[Inbound], float] = lambda _: 0.0

    def admit(self, inbound: Inbound) -> float:
        """The wait that the test gives."""
        return self.wait(inbound)

    def spend(self, model: str) -> None:
        """Nothing is counted."""

    def check(self, model: str) -> None:
        """Nothing is refused."""

    def wait_s(self, model: str) -> float:
        """No wait."""
        del model
        return 0.0

    def refused(self, model: str, error: ModelRateLimitedError) -> None:
        """Nothing is learnt."""


class NoCounters:
    """Rate limits of which there are none."""

    def status(self) -> tuple[WindowFacts, ...]:
        """None in use."""
        return ()

    def reset(self, selector: str | None = None) -> int:
        """Nothing to forget."""
        del selector
        return 0


@dataclass(slots=True)
class NoFiles:
    """A file host that has the files a test gives it."""

    files: dict[str, bytes] = field(default_factory=dict)

    async def fetch(self, url: str, *, bytes_max: int) -> bytes:
        """See `FileFetcher.fetch`."""
        del bytes_max
        if url not in self.files:
            raise DiscordUnavailableError
        return self.files[url]


@dataclass(slots=True)
class Talk:
    """The parts of the conversation that tests look at."""

    discord: MemoryDiscord
    models: list[ScriptedModel]
    database: Database
    store: JobStore
    queue: JobQueue
    inbox: Inbox
    recent: RecentMessages
    memory: ConversationMemory
    context: ContextBuilder
    pipeline: Pipeline
    workers: Workers
    catch_up: CatchUp
    breakers: Breakers
    bus: EventBus
    clock: Clock
    files: NoFiles
    limits: NoLimits
    ids: Iterator[int]
    modes: Modes
    controls: Controls
    cache: AnswerCache
    parking: Parking
    load: Load
    announcements: Announcements
    documents: DocumentStore
    rules: EffectiveRules
    large: LargeContexts
    mutexes: Mutexes

    def question(
        self, text: str, *, author: int = 7, channel: int = 100, **more: object
    ) -> Inbound:
        """A message that asks the bot, with a fresh id; one that is no command stands there."""
        fields: dict[str, object] = {
            "message_id": next(self.ids),
            "channel_id": channel,
            "guild_id": 1,
            "author_id": author,
            "author_name": f"user{author}",
            "content": text,
            "mentions_us": True,
        }
        asked = Inbound(**(fields | more))  # type: ignore[arg-type] # tests name the fields they change
        if asked.interaction is None:
            self.discord.seed(self.as_it_stands(asked))
        return asked

    def as_it_stands(self, inbound: Inbound) -> ChannelMessage:
        """A message as the channel's history has it."""
        return ChannelMessage(
            inbound.message_id,
            inbound.channel_id,
            inbound.author_id,
            inbound.author_name,
            inbound.content,
            reply_to=inbound.reply_to,
        )

    async def ask(self, text: str, **more: object) -> ReplyDelivered:
        """Ask and wait until the reply is delivered."""
        inbound = self.question(text, **more)  # type: ignore[arg-type] # as above
        waiting = self.delivered(inbound.message_id)
        self.inbox.on_message(inbound, None)
        return await waiting

    def delivered(self, message_id: int) -> Awaitable[ReplyDelivered]:
        """The delivery of the reply to one message, heard from now on."""
        found = self.bus.expect(ReplyDelivered, lambda event: event.message_id == message_id)
        return asyncio.wait_for(found, PATIENCE_S)

    def reply(self, message_id: int, channel: int = 100) -> str:
        """The parts of the reply to a message, joined by a line."""
        return "\n".join(m.content for m in self.discord.ours(channel, message_id))


def documents_at(path: Path, bus: EventBus, clock: Clock) -> DocumentStore:
    """The documents beside the database at `path`."""
    root = path.with_name(f"{path.name}-documents")
    root.mkdir(exist_ok=True)
    return DocumentStore(root, Kinds([SERVERS, USERS, CONVERSATIONS]), clock, bus.publish)


def large_contexts(
    path: Path,
    context: ContextBuilder,
    generation: Generation,
    rest: GuardedDiscord,
    store: JobStore,
    modes: Modes,
    bus: EventBus,
    clock: Clock,
    settings: LargeContextSettings | None,
    disk: FileSystem | None,
    is_known: Callable[[int], bool],
    delivery: Delivery,
) -> LargeContexts:
    """Long texts, in the folder `temp` beside the database."""

    def allowed() -> bool:
        return modes.switches.large_context and not modes.maintenance

    pool = AdaptivePool(clock, PoolSettings(limit_max=2, limit_start=2))
    reader = Reader(generation, pool, clock, Random(1), allowed)
    writer = ContextWriter(context, generation, reader, clock)
    files = ContextFiles(path.with_name("temp"), "context", disk or RealFileSystem())
    keeper = ContextKeeper(files, is_known, bus, 16 * 1024 * 1024)
    history = HistoryReader(
        rest, context.cleared_up_to, clock, messages_max=250, characters_max=1_000_000
    )
    return LargeContexts(
        context,
        history,
        keeper,
        reader,
        writer,
        Mending(keeper, writer, delivery, store, bus, clock),
        store,
        bus,
        clock,
        settings or LargeContextSettings(),
        allowed,
    )


@asynccontextmanager
async def talk(  # noqa: PLR0915 - a list of the parts, as in `app/bootstrap.py`
    path: Path,
    *models: ScriptedModel,
    workers: int = 4,
    discord: MemoryDiscord | None = None,
    trouble: TroubleSettings | None = None,
    attempts: int = 1,
    delivery: DeliverySettings | None = None,
    clock: Clock | None = None,
    running: bool = True,
    catching_up: bool = False,
    backfill: BackfillSettings | None = None,
    wrap: Callable[[Database], Database] = lambda database: database,
    way: Callable[[MemoryDiscord], DiscordRest] = lambda discord: discord,
    grace_s: float = 5.0,
    quick: BreakerSettings | None = None,
    announcements: AnnouncementSettings | None = None,
    context: ContextSettings | None = None,
    large: LargeContextSettings | None = None,
    disk: FileSystem | None = None,
) -> AsyncIterator[Talk]:
    """A conversation on the database at `path`, its workers running.

    With `catching_up` it begins as a life of the process does: it continues from where an earlier
    one had come to, and searches for what was missed. `way` leads to Discord, `wrap` to the disk.
    """
    clock = clock or SystemClock()
    bus = EventBus(clock)
    rng, mutexes = Random(1), Mutexes(clock, bus)
    database = wrap(open_database(f"sqlite:///{path}", migrations=MIGRATIONS, clock=clock))
    await database.start()
    store = JobStore(database, clock, this_owner())
    discord = discord or MemoryDiscord()
    rest = way(discord)
    queue = JobQueue(store, bus, clock, capacity=1000, hard_max=4000)
    recent = RecentMessages()
    inbox = Inbox(Claims(store, bus, clock), queue, store, recent, bus, clock)
    limits = NoLimits()
    modes = Modes(DegradationLadder(clock, bus), queue, store, bus, clock)
    admission = Admission(clock, limits, lambda: OUR_ID, AdmissionSettings(), held_s=modes.held_s)
    files = NoFiles()
    reader = AttachmentReader(files, PictureConverter(), AttachmentSettings())
    documents = documents_at(path, bus, clock)
    await documents.start()
    memory = ConversationMemory(documents, MemoryJournal(database), bus, clock)
    await memory.adopt()
    breakers = Breakers(clock, bus, random=rng)
    guarded = GuardedDiscord(rest, breakers.get("discord", quick or DISCORD_BREAKER))
    builder = ContextBuilder(
        guarded,
        recent,
        memory,
        reader,
        lambda: OUR_ID,
        context or ContextSettings(),
        switches=lambda: modes.switches,
    )
    scripted = list(models) or [ScriptedModel()]
    acknowledgement = Acknowledgement(queue, memory, bus, clock, memory_text=2000)
    generation = Generation(
        chain_of(scripted, breakers, limits, quick),
        RetryPolicy(settings=RetrySettings(attempts_max=attempts), random=rng),
        bus,
        clock,
        GenerationSettings(),
    )
    replies = Delivery(
        guarded,
        store,
        clock,
        Pace(clock, 0.05),
        delivery or UNHURRIED,
        streaming=lambda: modes.switches.streaming_edits,
        was_unclean=lambda: database.was_unclean,
    )
    pool = AdaptivePool(clock, PoolSettings(limit_max=workers, limit_start=workers))
    waits = patience_of(queue, pool, generation, guarded, replies, modes, bus, clock, announcements)
    cache = AnswerCache(clock, "", CacheSettings())
    settling = Trouble(
        queue,
        acknowledgement,
        admission,
        bus,
        clock,
        rng,
        trouble or TroubleSettings(),
        parking=waits.parking,
        load=waits.load,
        held_s=modes.held_s,
    )
    rules = EffectiveRules(documents, bus, lambda: Personas("Be kind.", {"pirate": "Say arr."}))
    await rules.load()
    elsewhere = Elsewhere(guarded, rules.judged, bus)
    settling.tell_elsewhere, inbox.muted = elsewhere.tell, elsewhere.muted
    inbox.references.look_up = guarded.message
    contexts = large_contexts(
        path,
        builder,
        generation,
        guarded,
        store,
        modes,
        bus,
        clock,
        large,
        disk,
        queue.knows,
        replies,
    )
    pipeline = Pipeline(
        admission,
        builder,
        generation,
        replies,
        acknowledgement,
        settling,
        waits.announcements,
        cache,
        inbox.changes,
        Turns(mutexes),
        rules=rules,
        large=contexts,
    )
    crew = Workers(queue, pipeline.answer, pipeline.shed, pool, bus)
    queue.shed = crew.shed
    controls = Controls(modes, queue, pool, breakers, NoCounters(), DeadLetters(database, store))
    settings = backfill or BackfillSettings()
    catch_up = CatchUp(
        Backfill(guarded, inbox, queue, store, bus, clock, lambda: OUR_ID, settings), store, clock
    )
    await modes.load()
    start = snowflake_at(clock.wall())
    whole = Talk(
        discord, scripted, database, store, queue, inbox, recent, memory, builder, pipeline, crew,
        catch_up, breakers, bus, clock, files, limits, iter(range(start, start + 10**9, 1000)),
        modes, controls, cache, waits.parking, waits.load, waits.announcements,
        documents, rules, contexts, mutexes,
    )  # fmt: skip
    for job in await store.unfinished():
        queue.adopt(job)
    await contexts.adopt()
    if catching_up:
        await inbox.continue_from()
        await catch_up.load()
    runs = (crew.run, waits.announcements.run, waits.parking.run) if running else ()
    tasks = [asyncio.create_task(run()) for run in runs]
    tasks += [asyncio.create_task(catch_up.run())] if catching_up else []
    try:
        yield whole
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await waits.announcements.drain()
        await crew.drain(grace_s)
        await contexts.drain()
        await inbox.close()
        await memory.drain()
        await documents.stop()
        await memory.drain()
        await database.stop()
