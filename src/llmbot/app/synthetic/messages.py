"""Test messages: through claim, queue, workers and pipeline as people's, to nobody's channel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from llmbot.adapters.discord.loopback import LoopbackDiscord
from llmbot.console.actions import ActionError
from llmbot.conversation.claim import Claims
from llmbot.conversation.jobs import Job, JobState, Priority
from llmbot.conversation.lanes import Lanes
from llmbot.conversation.messages import Inbound, Source
from llmbot.conversation.queue import JobQueue
from llmbot.kernel.clock import Clock
from llmbot.kernel.ids import snowflake_at

__all__ = ["ECHO_CHANNEL", "LOAD_CHANNEL", "Replied", "SyntheticMessages", "stages_of"]

ECHO_CHANNEL = 1
LOAD_CHANNEL = 2
"""Discord made its first ids in 2015 and they are far larger: no channel has these."""

GUILD = 1
ANSWER_DEADLINE_S = 20.0
_SERIAL_MASK = (1 << 22) - 1


@dataclass(frozen=True, slots=True)
class Replied:
    """What became of a test message: the reply, and the time of each stage in milliseconds."""

    message_id: int
    reply: str
    stages: dict[str, int]


class SyntheticMessages:
    """Sends test messages and waits for their replies."""

    def __init__(
        self,
        claims: Claims,
        queue: JobQueue,
        lanes: Lanes,
        loopback: LoopbackDiscord,
        clock: Clock,
    ) -> None:
        """Claim and queue as the inbox does; the reply lands in `loopback`."""
        self._claims = claims
        self._queue = queue
        self._lanes = lanes
        self._loopback = loopback
        self._clock = clock
        self._serial = 0

    def new_id(self) -> int:
        """An id as Discord would make it now, and that none of ours has."""
        self._serial = (self._serial + 1) & _SERIAL_MASK
        return snowflake_at(self._clock.wall()) | self._serial

    async def say(self, text: str, channel_id: int) -> Replied:
        """Say something in one of the channels above, and wait for the echo.

        Raises:
            ActionError: it was not answered in time, or ended without an answer.
            StoreUnavailableError: it could not be claimed.
        """
        message_id = self.new_id()
        inbound = Inbound(
            message_id=message_id,
            channel_id=channel_id,
            guild_id=None,
            author_id=message_id,  # each its own author: they are answered side by side
            author_name="operator",
            content=text,
            source=Source.OPERATOR,
            mentions_us=True,
        )
        job = await self.answered(inbound, ANSWER_DEADLINE_S)
        reply = self._loopback.replies_to(message_id)
        self._loopback.forget(message_id)
        if job.state is not JobState.DONE or not reply:
            raise ActionError(
                f"The message ended as {job.state} and not with an answer.",
                code="no_answer",
                remedy="See GET /api/admin/queue/status and the log.",
                facts={"reply": reply, "stages": stages_of(job)},
            )
        return Replied(message_id, reply, stages_of(job))

    async def answered(self, inbound: Inbound, deadline_s: float) -> Job:
        """Claim and queue a message as an operator's, and wait until it has ended.

        Raises:
            ActionError: it has not ended in time.
            StoreUnavailableError: it could not be claimed.
        """
        ended = self._lanes.expect(inbound.message_id)
        try:
            job = await self._claims.claim(inbound, None, Priority.OPERATOR)
            if job is None:
                raise ActionError("A message of this id was there already.", code="duplicate")
            self._queue.put(job)
            return await self._in_time(ended, job, deadline_s)
        finally:
            ended.cancel()

    async def told(self, message_id: int, work: Callable[[], Awaitable[object]]) -> str:
        """Do something whose answer comes by the queue; the words it ends with.

        Raises:
            TimeoutError: nothing came in time.
        """
        ended = self._lanes.expect(message_id)
        try:
            await work()
            async with asyncio.timeout(ANSWER_DEADLINE_S):
                await asyncio.shield(ended)
        finally:
            ended.cancel()
        reply = self._loopback.replies_to(message_id)
        self._loopback.forget(message_id)
        return reply

    async def _in_time(self, ended: asyncio.Future[Job], job: Job, deadline_s: float) -> Job:
        try:
            async with asyncio.timeout(deadline_s):
                return await asyncio.shield(ended)
        except TimeoutError:
            raise ActionError(
                f"The message was not answered within {deadline_s:g} s; it is {job.state} now.",
                code="timeout",
                remedy="See GET /api/admin/queue/status: other messages may be before it.",
                facts={"stages": stages_of(job), "state": str(job.state)},
            ) from None


def stages_of(job: Job) -> dict[str, int]:
    """The time that each stage of a job took, in whole milliseconds; 0 where it was not reached."""
    times = job.times
    return {
        "queueMs": times.span_ms(times.received, times.leased),
        "contextMs": times.span_ms(times.leased, times.context),
        "modelMs": times.span_ms(times.context, times.answered),
        "deliveryMs": times.span_ms(times.answered, times.delivered),
        "totalMs": times.span_ms(times.received, times.delivered),
    }
