"""Commands that ask the model: what they say as a message for the queue."""

from __future__ import annotations

from llmbot.conversation.messages import CommandRequest, Inbound, LongRequest, Source

__all__ = ["question_of"]


def question_of(request: CommandRequest, content: str, long: LongRequest | None = None) -> Inbound:
    """The command as a question; its answer edits "is thinking"."""
    return Inbound(
        message_id=request.interaction.id,
        channel_id=request.channel_id,
        guild_id=request.guild_id,
        author_id=request.user_id,
        author_name=request.user_name,
        content=content,
        source=Source.INTERACTION,
        is_direct=request.guild_id is None,
        attachments=request.attachments,
        locale=request.locale,
        interaction=request.interaction,
        role_ids=request.role_ids,
        parent_id=request.parent_id,
        long=long,
    )
