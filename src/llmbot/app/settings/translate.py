"""From the settings' tree to what each part takes: units and names change here and nowhere else."""

from __future__ import annotations

from urllib.parse import urlsplit

from llmbot.app.settings.tree import Settings
from llmbot.console.discord_admin import Administrators
from llmbot.conversation.admission import AdmissionSettings
from llmbot.conversation.attachments import AttachmentSettings
from llmbot.conversation.context import ContextSettings
from llmbot.conversation.delivery import DeliverySettings
from llmbot.conversation.generation import GenerationSettings
from llmbot.conversation.large.facts import LargeContextSettings
from llmbot.conversation.memory.conversations import Bounds
from llmbot.conversation.memory.summaries import SummarySettings
from llmbot.conversation.models.answer_cache import CacheSettings
from llmbot.conversation.ports import ModelDeadlines
from llmbot.conversation.trouble import TroubleSettings
from llmbot.conversation.waiting.announcements import AnnouncementSettings
from llmbot.resilience.concurrency import PoolSettings
from llmbot.resilience.loop_share import LoopShareSettings

DISCORD_HOST = "discord.com"


def administrators_of(settings: Settings) -> Administrators:
    """Who may use `/admin`."""
    return Administrators(settings.discord.admin_user_ids, settings.discord.admin_role_ids)


def admission_settings(settings: Settings) -> AdmissionSettings:
    """Age and attempts up to which a message is answered."""
    return AdmissionSettings(
        age_max_s=settings.limits.answer_age_max_s, attempts_max=settings.limits.attempts_max
    )


def attachment_settings(settings: Settings) -> AttachmentSettings:
    """Limits for files; a Discord that is not Discord's own serves its files itself."""
    given = settings.attachments
    base = urlsplit(settings.discord.api_base_url)
    own = base.hostname != DISCORD_HOST
    return AttachmentSettings(
        hosts=tuple(dict.fromkeys((*given.hosts, base.netloc) if own else given.hosts)),
        plain_http=own and base.scheme == "http",
        count_max=given.count_max,
        bytes_max=given.bytes_max,
        text_characters_max=settings.long_texts.characters_max,
        seconds_max=given.deadline_s,
    )


def context_settings(settings: Settings) -> ContextSettings:
    """What the model is told."""
    given = settings.context
    return ContextSettings(
        tokens_max=given.tokens_max,
        history_messages=given.history_messages,
        reply_chain=given.reply_chain,
        output_tokens_max=given.answer_tokens_max,
        memory_turns=settings.memory.turns,
        persona=settings.personas.instructions,
    )


def large_context_settings(settings: Settings) -> LargeContextSettings:
    """Limits of texts that are read part by part."""
    given = settings.long_texts
    return LargeContextSettings(given.jobs_max, given.line_max, given.deadline_s)


def memory_bounds(settings: Settings) -> Bounds:
    """How much of a conversation is remembered."""
    given = settings.memory
    return Bounds(
        turns_max=given.turns, characters_max=given.characters, age_max_s=given.days * 86_400.0
    )


def summary_settings(settings: Settings) -> SummarySettings:
    """How often conversations are summed up."""
    return SummarySettings(per_hour=settings.memory.summaries)


def delivery_settings(settings: Settings) -> DeliverySettings:
    """How replies are shown."""
    given = settings.streaming
    return DeliverySettings(settle_s=given.settle_ms / 1000, silence_s=given.notice_after_s)


def announcement_settings(settings: Settings) -> AnnouncementSettings:
    """When those who wait are told."""
    given = settings.streaming
    return AnnouncementSettings(
        silence_s=given.notice_after_s, maintenance_every_s=given.maintenance_notice_s
    )


def cache_settings(settings: Settings) -> CacheSettings:
    """Which earlier answers stand in while no model can answer."""
    return CacheSettings(age_max_s=settings.streaming.cached_answer_s)


def generation_settings(settings: Settings) -> GenerationSettings:
    """Patience with the models."""
    given = settings.deadlines
    deadlines = ModelDeadlines(
        connect_s=given.connect_s,
        first_words_s=given.first_words_s,
        between_words_s=given.between_words_s,
        whole_answer_s=given.whole_answer_s,
    )
    return GenerationSettings(deadlines=deadlines, chain_s=given.chain_s)


def trouble_settings(settings: Settings) -> TroubleSettings:
    """How often and for how long a message is tried."""
    given = settings.limits
    return TroubleSettings(attempts_max=given.attempts_max, wait_s=given.answer_wait_max_s)


def pool_settings(settings: Settings) -> PoolSettings:
    """How many messages are answered side by side: all that are allowed, fewer in trouble."""
    most = settings.limits.workers_max
    return PoolSettings(limit_min=max(1, most // 8), limit_max=most, limit_start=most)


def loop_share_settings(settings: Settings) -> LoopShareSettings:
    """How many messages are answered side by side as the event loop bears them."""
    most = settings.limits.workers_max
    return LoopShareSettings(least=min(2, most), start=min(4, most), most=most)
