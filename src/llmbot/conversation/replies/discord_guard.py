"""Discord's REST side behind a circuit breaker (`ports.DiscordRest` over another one).

While Discord is away nobody is kept waiting for it: the breaker refuses at once, messages wait with
their answers, and one call at a time finds out whether it is back. What Discord refuses is an
answer, and a rate limit is no illness: neither counts against it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

from llmbot.conversation.generation import Prospect
from llmbot.conversation.messages import ChannelMessage, InteractionRef
from llmbot.conversation.ports import DiscordRest, Sent
from llmbot.kernel.errors import (
    BreakerOpenError,
    DiscordRateLimitedError,
    DiscordUnavailableError,
    LlmbotError,
    RefusedError,
)
from llmbot.resilience.breaker import CircuitBreaker, Permit
from llmbot.resilience.breaker_facts import BreakerSettings, BreakerState

T = TypeVar("T")

DISCORD_BREAKER = BreakerSettings(pause_s=1.0, pause_max_s=10.0)
"""Discord's trouble is mostly short, and nobody can be told meanwhile: probe often."""


class GuardedDiscord:
    """Calls Discord through a breaker, and counts what failed by call and code."""

    def __init__(self, rest: DiscordRest, breaker: CircuitBreaker) -> None:
        """Guard `rest`."""
        self._rest = rest
        self.breaker = breaker
        self.failures: Counter[tuple[str, str]] = Counter()
        """(call, error code) and how often; both come from closed lists."""

    def prospect(self) -> Prospect:
        """Whether Discord may be called, and when."""
        wait_s = self.breaker.retry_after()
        closed = self.breaker.state is BreakerState.CLOSED
        return Prospect(ready=closed and wait_s == 0, wait_s=wait_s)

    async def send(
        self, channel_id: int, content: str, *, nonce: str, reply_to: int | None = None
    ) -> Sent:
        """See `DiscordRest.send`."""
        return await self._guarded(
            "send", lambda: self._rest.send(channel_id, content, nonce=nonce, reply_to=reply_to)
        )

    async def edit(self, channel_id: int, message_id: int, content: str) -> None:
        """See `DiscordRest.edit`."""
        await self._guarded("edit", lambda: self._rest.edit(channel_id, message_id, content))

    async def delete(self, channel_id: int, message_id: int) -> None:
        """See `DiscordRest.delete`."""
        await self._guarded("delete", lambda: self._rest.delete(channel_id, message_id))

    async def typing(self, channel_id: int) -> None:
        """See `DiscordRest.typing`."""
        await self._guarded("typing", lambda: self._rest.typing(channel_id))

    async def history(
        self,
        channel_id: int,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int = 50,
    ) -> list[ChannelMessage]:
        """See `DiscordRest.history`."""
        return await self._guarded(
            "history",
            lambda: self._rest.history(channel_id, before=before, after=after, limit=limit),
        )

    async def message(self, channel_id: int, message_id: int) -> ChannelMessage | None:
        """See `DiscordRest.message`."""
        return await self._guarded("message", lambda: self._rest.message(channel_id, message_id))

    async def direct(self, user_id: int) -> int:
        """See `DiscordRest.direct`."""
        return await self._guarded("direct", lambda: self._rest.direct(user_id))

    def is_tight(self, channel_id: int, call: str) -> bool:
        """See `DiscordRest.is_tight`."""
        return self.breaker.state is not BreakerState.CLOSED or self._rest.is_tight(
            channel_id, call
        )

    async def edit_original(self, interaction: InteractionRef, content: str) -> Sent:
        """See `DiscordRest.edit_original`."""
        return await self._guarded(
            "edit_original", lambda: self._rest.edit_original(interaction, content)
        )

    async def follow_up(self, interaction: InteractionRef, content: str) -> Sent:
        """See `DiscordRest.follow_up`."""
        return await self._guarded("follow_up", lambda: self._rest.follow_up(interaction, content))

    async def edit_follow_up(
        self, interaction: InteractionRef, message_id: int, content: str
    ) -> None:
        """See `DiscordRest.edit_follow_up`."""
        await self._guarded(
            "edit_follow_up",
            lambda: self._rest.edit_follow_up(interaction, message_id, content),
        )

    async def _guarded(self, call: str, make: Callable[[], Awaitable[T]]) -> T:
        try:
            permit = self.breaker.enter()
        except BreakerOpenError as refusal:
            raise DiscordUnavailableError(
                "Discord is not asked: its circuit breaker is open",
                retry_after_s=refusal.retry_after_s,
            ) from None
        try:
            result = await make()
        except BaseException as error:
            self._charge(permit, call, error)
            raise
        permit.succeeded()
        return result

    def _charge(self, permit: Permit, call: str, error: BaseException) -> None:
        if isinstance(error, LlmbotError):
            self.failures[call, error.code] += 1
        if isinstance(error, RefusedError):
            # It was answered: whoever can say no is there.
            permit.succeeded()
        elif isinstance(error, DiscordRateLimitedError):
            permit.abandoned()
        else:
            permit.ended(error)
