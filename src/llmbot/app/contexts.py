"""What the model is told: prompts, long texts, and what conversations were summed up to."""

from __future__ import annotations

from llmbot.app.parts import Edges, House, Mechanisms
from llmbot.app.settings.translate import (
    attachment_settings,
    context_settings,
    large_context_settings,
    summary_settings,
)
from llmbot.conversation.attachments import AttachmentReader
from llmbot.conversation.context import ContextBuilder
from llmbot.conversation.delivery import Delivery
from llmbot.conversation.generation import Generation
from llmbot.conversation.large.files import ContextFiles
from llmbot.conversation.large.reading import Reader
from llmbot.conversation.large.retention import ContextKeeper
from llmbot.conversation.large.retries import Mending
from llmbot.conversation.large.sources import HistoryReader
from llmbot.conversation.large.writing import ContextWriter
from llmbot.conversation.large_context import LargeContexts
from llmbot.conversation.memory.recent import RecentMessages
from llmbot.conversation.memory.summaries import Summaries
from llmbot.conversation.replies.discord_guard import GuardedDiscord
from llmbot.operations.temp_files import CONTEXT
from llmbot.resilience.concurrency import AdaptivePool, PoolSettings
from llmbot.resilience.degradation import Degradation
from llmbot.storage.filesystem import RealFileSystem


def build_context(
    house: House,
    mechanisms: Mechanisms,
    edges: Edges,
    rest: GuardedDiscord,
    recent: RecentMessages,
) -> ContextBuilder:
    """What the model is told."""
    reader = AttachmentReader(edges.fetcher, edges.pictures, attachment_settings(house.settings))
    return ContextBuilder(
        rest,
        recent,
        mechanisms.documents.memory,
        reader,
        edges.our_id,
        context_settings(house.settings),
        switches=lambda: mechanisms.modes.switches,
    )


def build_summaries(house: House, mechanisms: Mechanisms, generation: Generation) -> Summaries:
    """Conversations are summed up while nobody waits and nothing is given up."""
    queue, modes = mechanisms.queue, mechanisms.modes

    def is_idle() -> bool:
        facts = queue.facts()
        calm = modes.ladder.facts().level is Degradation.NONE and not modes.maintenance
        return calm and not facts.waiting and not facts.in_flight

    return Summaries(
        mechanisms.documents.memory,
        generation,
        is_idle,
        house.bus,
        house.clock,
        summary_settings(house.settings),
    )


def build_large_contexts(
    house: House,
    mechanisms: Mechanisms,
    rest: GuardedDiscord,
    context: ContextBuilder,
    generation: Generation,
    delivery: Delivery,
) -> LargeContexts:
    """Long texts, read while neither overload nor maintenance holds them back."""
    settings, clock, modes = house.settings, house.clock, mechanisms.modes
    most = settings.long_texts.parts_at_once

    def allowed() -> bool:
        return modes.switches.large_context and not modes.maintenance

    pool = AdaptivePool(clock, PoolSettings(limit_max=most, limit_start=most))
    reader = Reader(generation, pool, clock, house.rng, allowed)
    stand_in_note = settings.streaming.stand_in_note
    writer = ContextWriter(context, generation, reader, clock, stand_in_note=stand_in_note)
    keeper = ContextKeeper(
        ContextFiles(settings.storage.temp_dir, CONTEXT, RealFileSystem()),
        mechanisms.queue.knows,
        house.bus,
        settings.long_texts.disk_bytes_max,
    )
    history = HistoryReader(
        rest,
        context.cleared_up_to,
        clock,
        messages_max=settings.long_texts.messages_max,
        characters_max=settings.long_texts.characters_max,
    )
    return LargeContexts(
        context,
        history,
        keeper,
        reader,
        writer,
        Mending(keeper, writer, delivery, mechanisms.store, house.bus, clock),
        mechanisms.store,
        house.bus,
        clock,
        large_context_settings(settings),
        allowed,
    )
