"""Stands between the gateway and its handlers, so that they can be put down and taken up again.

While no handler is attached, what comes is kept in its order and handed over afterwards; commands
wait for as long as Discord does. Nothing that came meanwhile moves the stored place in the stream
on, so that a kill in between loses nothing either.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmbot.conversation.messages import (
    ChannelMessage,
    CommandReply,
    CommandRequest,
    Inbound,
    SessionCursor,
)
from llmbot.conversation.ports import GatewayHandler, KnownChannel

__all__ = ["Switchboard", "SwitchboardFacts"]

KEPT_MAX = 20_000
SEEN_MAX = 200
COMMAND_PATIENCE_S = 2.0
"""Discord drops a command that is not answered within 3 s."""


@dataclass(frozen=True, slots=True)
class SwitchboardFacts:
    """How it stands."""

    attached: bool
    kept: int
    events: int
    commands: int


class Switchboard:
    """A `GatewayHandler` in front of another one."""

    def __init__(self, handler: GatewayHandler) -> None:
        """Hand everything to `handler`."""
        self._handler = handler
        self._attached = asyncio.Event()
        self._attached.set()
        self._kept: deque[Callable[[], None]] = deque()
        self._events = 0
        self._commands = 0
        self._awaited: dict[int, asyncio.Future[None]] = {}
        self._seen: deque[int] = deque(maxlen=SEEN_MAX)

    def facts(self) -> SwitchboardFacts:
        """How it stands."""
        return SwitchboardFacts(
            self._attached.is_set(), len(self._kept), self._events, self._commands
        )

    def detach(self) -> None:
        """Hand nothing on from now on."""
        self._attached.clear()

    def attach(self) -> int:
        """Hand over what was kept, in its order, and everything from now on; how much it was."""
        count = len(self._kept)
        self._attached.set()
        while self._kept:
            self._kept.popleft()()
        return count

    def expect_seen(self, message_id: int) -> asyncio.Future[None]:
        """Done when the gateway tells of a message; cancel it when nobody waits any more.

        The gateway may be faster than the answer that names the id: the last ids are remembered.
        """
        found: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if message_id in self._seen:
            found.set_result(None)
            return found
        self._awaited[message_id] = found
        found.add_done_callback(lambda _: self._awaited.pop(message_id, None))
        return found

    # ── conversation.ports.GatewayHandler ───────────────────────────────────────────────────────

    def on_message(self, inbound: Inbound, cursor: SessionCursor | None) -> None:
        """See `GatewayHandler.on_message`."""
        self._pass_on(lambda: self._handler.on_message(inbound, cursor))

    def on_message_seen(self, message: ChannelMessage) -> None:
        """See `GatewayHandler.on_message_seen`."""
        self._seen.append(message.id)
        found = self._awaited.get(message.id)
        if found is not None and not found.done():
            found.set_result(None)
        self._pass_on(lambda: self._handler.on_message_seen(message))

    def on_message_edited(self, channel_id: int, message_id: int, content: str) -> None:
        """See `GatewayHandler.on_message_edited`."""
        self._pass_on(lambda: self._handler.on_message_edited(channel_id, message_id, content))

    def on_message_deleted(self, channel_id: int, message_id: int) -> None:
        """See `GatewayHandler.on_message_deleted`."""
        self._pass_on(lambda: self._handler.on_message_deleted(channel_id, message_id))

    def on_session(
        self, *, resumed: bool, channels: Sequence[KnownChannel], session_id: str
    ) -> None:
        """See `GatewayHandler.on_session`."""
        self._pass_on(
            lambda: self._handler.on_session(
                resumed=resumed, channels=channels, session_id=session_id
            )
        )

    async def on_command(self, request: CommandRequest) -> CommandReply | None:
        """See `GatewayHandler.on_command`."""
        self._commands += 1
        try:
            async with asyncio.timeout(COMMAND_PATIENCE_S):
                await self._attached.wait()
        except TimeoutError:
            return CommandReply("I am just being looked after. Please try again in a moment.")
        return await self._handler.on_command(request)

    def _pass_on(self, hand_over: Callable[[], None]) -> None:
        self._events += 1
        if self._attached.is_set():
            hand_over()
            return
        self._kept.append(hand_over)
        if len(self._kept) >= KEPT_MAX:
            # Whoever detached has not come back: the handlers are there, and memory is bounded.
            self.attach()
