"""The lanes of the operator's test messages: the real pipeline with an echo for a model.

Two of them, alike but for whom they tell: what goes over the first is told to nobody but the
operator, what goes over the second counts in the bot's response times.
"""

from __future__ import annotations

from llmbot.adapters.discord.loopback import OUR_ID, LoopbackDiscord
from llmbot.adapters.models.echo import EchoModel, OpenGuard
from llmbot.app.parts import Conversation, Edges, House, Mechanisms
from llmbot.app.settings.translate import (
    attachment_settings,
    context_settings,
    delivery_settings,
    generation_settings,
    trouble_settings,
)
from llmbot.app.synthetic.messages import ECHO_CHANNEL, LOAD_CHANNEL, SyntheticMessages
from llmbot.conversation.acknowledgement import Acknowledgement
from llmbot.conversation.admission import Admission, AdmissionSettings
from llmbot.conversation.attachments import AttachmentReader
from llmbot.conversation.context import ContextBuilder
from llmbot.conversation.delivery import Delivery
from llmbot.conversation.generation import Candidate, Generation
from llmbot.conversation.memory.recent import RecentMessages
from llmbot.conversation.messages import Inbound
from llmbot.conversation.models.answer_cache import AnswerCache, CacheSettings
from llmbot.conversation.pipeline import Pipeline
from llmbot.conversation.replies.pace import Pace
from llmbot.conversation.trouble import Trouble
from llmbot.kernel.events import EventBus
from llmbot.resilience.retry import RetryPolicy

__all__ = ["build_synthetic"]


class _NoLimits:
    """Operators' tests are not counted against anybody (`admission.UserLimits`)."""

    def admit(self, inbound: Inbound) -> float:
        """Nobody waits."""
        del inbound
        return 0.0


def build_synthetic(
    house: House, mechanisms: Mechanisms, edges: Edges, conversation: Conversation
) -> SyntheticMessages:
    """Put the lanes beside the one for people."""
    loopback = LoopbackDiscord(house.clock)
    unheard = EventBus(house.clock, history_max=1)
    lanes = {
        channel: _pipeline(house, mechanisms, edges, conversation, loopback, unheard, told)
        for channel, told in ((ECHO_CHANNEL, unheard), (LOAD_CHANNEL, house.bus))
    }
    conversation.lanes.add(lanes)
    return SyntheticMessages(
        mechanisms.claims, mechanisms.queue, conversation.lanes, loopback, house.clock
    )


def _pipeline(
    house: House,
    mechanisms: Mechanisms,
    edges: Edges,
    conversation: Conversation,
    loopback: LoopbackDiscord,
    unheard: EventBus,
    told: EventBus,
) -> Pipeline:
    settings, clock, queue = house.settings, house.clock, mechanisms.queue
    admission = Admission(
        clock, _NoLimits(), lambda: OUR_ID, AdmissionSettings(), held_s=mechanisms.modes.held_s
    )
    context = _context(house, mechanisms, edges, loopback)
    # What the echo says is no model's answer: no figure of a model may count it.
    generation = Generation(
        [Candidate(EchoModel(), OpenGuard())],
        RetryPolicy(random=house.rng),
        unheard,
        clock,
        generation_settings(settings),
    )
    delivery = Delivery(
        loopback,
        mechanisms.store,
        clock,
        Pace(clock, settings.streaming.edit_interval_s),
        delivery_settings(settings),
    )
    acknowledgement = Acknowledgement(
        queue, mechanisms.documents.memory, told, clock, memory_text=1
    )
    trouble = Trouble(
        queue,
        acknowledgement,
        admission,
        told,
        clock,
        house.rng,
        trouble_settings(settings),
        parking=conversation.patience.parking,
        load=conversation.patience.load,
        held_s=mechanisms.modes.held_s,
    )
    cache = AnswerCache(clock, "", CacheSettings(age_max_s=0))
    return Pipeline(
        admission,
        context,
        generation,
        delivery,
        acknowledgement,
        trouble,
        conversation.patience.announcements,
        cache,
        conversation.inbox.changes,
        conversation.pipeline.turns,
    )


def _context(
    house: House, mechanisms: Mechanisms, edges: Edges, loopback: LoopbackDiscord
) -> ContextBuilder:
    settings = house.settings
    return ContextBuilder(
        loopback,
        RecentMessages(),
        mechanisms.documents.memory,
        AttachmentReader(edges.fetcher, edges.pictures, attachment_settings(settings)),
        lambda: OUR_ID,
        context_settings(settings),
    )
