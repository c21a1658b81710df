"""The durable claim of a message id: made before any other work, the reason nothing comes twice."""

from __future__ import annotations

from collections import OrderedDict

from llmbot.conversation.jobs import Job, JobState, Priority
from llmbot.conversation.ledger.job_store import JobStore
from llmbot.conversation.messages import Inbound, SessionCursor
from llmbot.kernel.clock import Clock
from llmbot.kernel.events import DuplicateMessage, EventBus, MessageAccepted


class Claims:
    """Claims messages, each once; a bounded memory of ids stops most duplicates without a write."""

    def __init__(
        self, store: JobStore, bus: EventBus, clock: Clock, *, memory_max: int = 2_000
    ) -> None:
        """Remember the last `memory_max` claimed ids."""
        self._store = store
        self._bus = bus
        self._clock = clock
        self._memory: OrderedDict[int, None] = OrderedDict()
        self._memory_max = memory_max
        self.duplicates: dict[str, int] = {"memory": 0, "record": 0}

    @property
    def remembered(self) -> int:
        """How many ids the memory holds."""
        return len(self._memory)

    @property
    def capacity(self) -> int:
        """How many ids it may hold."""
        return self._memory_max

    def forget(self) -> int:
        """Empty the memory; the durable record, which prevents second answers, stays."""
        count = len(self._memory)
        self._memory.clear()
        return count

    async def claim(
        self,
        inbound: Inbound,
        cursor: SessionCursor | None,
        priority: Priority = Priority.USER,
        *,
        after: int | None = None,
    ) -> Job | None:
        """Claim and enqueue durably; None for a message that was claimed before.

        Only `after` the claim of an earlier message, where one is named.

        The write is submitted before the first suspension, so that claims keep their order.

        Raises:
            StoreUnavailableError: the claim could not be stored; the message is not accepted.
        """
        received = self._clock.monotonic()
        if inbound.message_id in self._memory:
            self._duplicate(inbound, "memory")
            return None
        self._memory[inbound.message_id] = None
        if len(self._memory) > self._memory_max:
            self._memory.popitem(last=False)
        try:
            fresh = await self._store.claim(inbound, priority, cursor, after=after)
        except BaseException:
            # Not stored, or nobody knows: a later delivery of the same id must be tried again.
            self._memory.pop(inbound.message_id, None)
            raise
        if not fresh:
            self._duplicate(inbound, "record")
            return None
        self._bus.publish(
            MessageAccepted(
                inbound.message_id, inbound.channel_id, inbound.guild_id, inbound.source.value
            )
        )
        now = self._clock.wall()
        job = Job(inbound, priority, JobState.WAITING, created_s=now, due_s=now)
        job.times.received = received
        return job

    def _duplicate(self, inbound: Inbound, stopped_by: str) -> None:
        self.duplicates[stopped_by] += 1
        self._bus.publish(DuplicateMessage(inbound.message_id, inbound.source.value, stopped_by))
