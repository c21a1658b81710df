"""Which pipeline answers a job: the one for people, or one for the operator's test messages.

Test messages stand in the same durable queue and are answered by the same workers; only the model
and the place where the reply goes are others. They are told apart by channels that no Discord has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from llmbot.conversation.jobs import ENDED, Job
from llmbot.conversation.pipeline import Pipeline
from llmbot.conversation.rules.facts import Rules

__all__ = ["Lanes"]

UNREMEMBERED = Rules(remember=False)
"""What nobody said goes into no conversation's memory."""


class Lanes:
    """Answers each job on its own lane; a test message that has ended is erased and told of."""

    def __init__(self, people: Pipeline, erase: Callable[[int], Awaitable[None]]) -> None:
        """All jobs are answered by `people` until lanes are added."""
        self._people = people
        self._erase = erase
        self._lanes: dict[int, Pipeline] = {}
        self._waiting: dict[int, asyncio.Future[Job]] = {}

    def add(self, channels: Mapping[int, Pipeline]) -> None:
        """Answer what comes from these channels by these pipelines."""
        self._lanes.update(channels)

    def expect(self, message_id: int) -> asyncio.Future[Job]:
        """The job of a test message once it has ended; cancel it when nobody waits any more."""
        found: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        self._waiting[message_id] = found
        found.add_done_callback(lambda _: self._waiting.pop(message_id, None))
        return found

    async def answer(self, job: Job) -> Exception | None:
        """See `Pipeline.answer`."""
        lane = self._lanes.get(job.inbound.channel_id)
        if lane is None:
            error = await self._people.answer(job)
        else:
            job.rules = UNREMEMBERED
            error = await lane.answer(job)
            if job.state in ENDED:
                # Behind the last write of the job: one thread writes, in order.
                await self._erase(job.message_id)
        self._tell(job)
        return error

    async def shed(self, job: Job) -> None:
        """See `Pipeline.shed`."""
        await self._lanes.get(job.inbound.channel_id, self._people).shed(job)
        self._tell(job)

    def _tell(self, job: Job) -> None:
        found = self._waiting.get(job.message_id)
        if found is not None and not found.done() and job.state in ENDED:
            found.set_result(job)
