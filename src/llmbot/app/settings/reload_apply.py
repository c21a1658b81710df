"""Puts settings in force in a bot that runs: what `bootstrap.py` handed the parts, handed anew."""

from __future__ import annotations

from llmbot.app.parts import Conversation, Mechanisms
from llmbot.app.settings.translate import (
    admission_settings,
    announcement_settings,
    attachment_settings,
    cache_settings,
    context_settings,
    delivery_settings,
    generation_settings,
    large_context_settings,
    memory_bounds,
    summary_settings,
    trouble_settings,
)
from llmbot.app.settings.tree import Settings


def apply_settings(settings: Settings, mechanisms: Mechanisms, conversation: Conversation) -> None:
    """Hand every part its settings; each takes them with its next message."""
    mechanisms.limits.configure(settings)
    mechanisms.documents.memory.bounds = memory_bounds(settings)
    conversation.summaries.settings = summary_settings(settings)
    conversation.admission.settings = admission_settings(settings)
    conversation.context.settings = context_settings(settings)
    conversation.context.reader.settings = attachment_settings(settings)
    conversation.large.settings = large_context_settings(settings)
    conversation.large.keeper.bytes_max = settings.long_texts.disk_bytes_max
    conversation.generation.settings = generation_settings(settings)
    conversation.delivery.settings = delivery_settings(settings)
    conversation.pipeline.trouble.settings = trouble_settings(settings)
    conversation.patience.announcements.settings = announcement_settings(settings)
    conversation.cache.settings = cache_settings(settings)
    conversation.cache.persona = settings.personas.instructions
