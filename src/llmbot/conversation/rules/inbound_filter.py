"""Stands before the inbox: each message comes in as the rules of its server see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmbot.conversation.messages import (
    ChannelMessage,
    CommandReply,
    CommandRequest,
    Inbound,
    SessionCursor,
)
from llmbot.conversation.ports import GatewayHandler, KnownChannel


class InboundFilter:
    """Hears the gateway (`ports.GatewayHandler`) and passes everything on."""

    def __init__(self, inbox: GatewayHandler, judged: Callable[[Inbound], Inbound]) -> None:
        """Pass on to `inbox`; `judged` says whether the bot may speak there, and how."""
        self._inbox = inbox
        self._judged = judged

    def on_message(self, inbound: Inbound, cursor: SessionCursor | None) -> None:
        """See `GatewayHandler.on_message`; one that is not to be answered still has its place."""
        self._inbox.on_message(self._judged(inbound), cursor)

    def on_message_seen(self, message: ChannelMessage) -> None:
        """See `GatewayHandler.on_message_seen`."""
        self._inbox.on_message_seen(message)

    def on_message_edited(self, channel_id: int, message_id: int, content: str) -> None:
        """See `GatewayHandler.on_message_edited`."""
        self._inbox.on_message_edited(channel_id, message_id, content)

    def on_message_deleted(self, channel_id: int, message_id: int) -> None:
        """See `GatewayHandler.on_message_deleted`."""
        self._inbox.on_message_deleted(channel_id, message_id)

    def on_session(
        self, *, resumed: bool, channels: Sequence[KnownChannel], session_id: str
    ) -> None:
        """See `GatewayHandler.on_session`."""
        self._inbox.on_session(resumed=resumed, channels=channels, session_id=session_id)

    async def on_command(self, request: CommandRequest) -> CommandReply | None:
        """See `GatewayHandler.on_command`."""
        return await self._inbox.on_command(request)
