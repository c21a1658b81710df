"""Messages that wait for something that is away, and how they come back without a stampede.

While a model or Discord is away, trying each message again and again would cost work and calls and
help nobody. So they are parked: when the breaker may be probed, one of them is brought forward to
find out; when the other side is well again, the rest follow a few at a time. Each has its own due
time besides, at which its patience ends.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from enum import StrEnum

from llmbot.conversation.generation import Prospect
from llmbot.conversation.queue import JobQueue
from llmbot.kernel.clock import Clock
from llmbot.kernel.events import BreakerChanged, EventBus, Published

_LOOK_S = 0.25
"""How often it is looked whether what is waited for is back."""

_CLOSED = "closed"


class Away(StrEnum):
    """What a parked message waits for."""

    MODEL = "model"
    DISCORD = "discord"


class Parking:
    """Knows who waits for what, and brings them forward when it is back."""

    def __init__(
        self,
        queue: JobQueue,
        prospects: Mapping[Away, Callable[[], Prospect]],
        batch: Callable[[], int],
        bus: EventBus,
        clock: Clock,
    ) -> None:
        """Bring jobs of `queue` forward, at most `batch()` at each look, by `prospects`."""
        self._queue = queue
        self._prospects = prospects
        self._batch = batch
        self._clock = clock
        # Who waits, and from when on each may be sent to find out.
        self._parked: dict[Away, OrderedDict[int, float]] = {away: OrderedDict() for away in Away}
        self._stop = bus.subscribe(self._hear)

    def close(self) -> None:
        """Hear of no breaker any more."""
        self._stop()

    def prospect(self, away: Away) -> Prospect:
        """Whether what is waited for is back, and when it may be."""
        return self._prospects[away]()

    def park(self, message_id: int, away: Away, *, rest_s: float = 0.0) -> None:
        """Remember who waits; the job itself goes back into the queue with its own due time.

        It is not sent to find out whether what it waits for is back before `rest_s` seconds.
        """
        self._parked[away][message_id] = self._clock.monotonic() + rest_s

    def __len__(self) -> int:
        """How many are parked; some may have ended meanwhile."""
        return sum(len(parked) for parked in self._parked.values())

    async def run(self) -> None:
        """Look again and again; ends only by cancellation."""
        while True:
            await self._clock.sleep(_LOOK_S)
            self.look()

    def look(self) -> None:
        """Bring forward whoever may try now."""
        for away, parked in self._parked.items():
            if not parked:
                continue
            prospect = self._prospects[away]()
            if prospect.ready:
                self._bring(parked, max(1, self._batch()))
            elif prospect.wait_s == 0:
                # Nobody knows yet whether it is back: one finds out for all.
                self._send_one(parked)
            elif len(parked) > 2 * len(self._queue):
                self._forget_gone(parked)

    def _send_one(self, parked: OrderedDict[int, float]) -> None:
        now = self._clock.monotonic()
        for message_id, may_try_at in parked.items():
            if may_try_at <= now:
                del parked[message_id]
                self._queue.bring_forward(message_id)
                return

    def _bring(self, parked: OrderedDict[int, float], count: int) -> None:
        """The oldest first; those that no longer wait do not count."""
        while parked and count > 0:
            message_id, _ = parked.popitem(last=False)
            count -= self._queue.bring_forward(message_id)

    def _forget_gone(self, parked: OrderedDict[int, float]) -> None:
        for message_id in [each for each in parked if self._queue.waiting(each) is None]:
            del parked[message_id]

    def _hear(self, published: Published) -> None:
        event = published.event
        if isinstance(event, BreakerChanged) and event.after == _CLOSED:
            self.look()
