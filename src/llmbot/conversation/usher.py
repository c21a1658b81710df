"""Tells people what their message waits for, while it waits for its turn.

Workers speak for the messages they have; the usher speaks for those in line. Whoever would hear
nothing for `silence_s` seconds gets a notice with the expected wait; under maintenance each channel
is told once a cool-down; under forced queueing everyone is told at once. A notice stands where the
answer will: it is edited into it. Notices give way to answers when Discord's limits are tight.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass
from functools import partial
from math import inf

from llmbot.conversation.delivery import Delivery
from llmbot.conversation.jobs import Job, Priority
from llmbot.conversation.load import Load
from llmbot.conversation.modes import Modes
from llmbot.conversation.notices import notice, span
from llmbot.conversation.queue import JobQueue
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError
from llmbot.kernel.events import EventBus, TaskDied

__all__ = ["Usher", "UsherSettings", "waiting_words"]

_LOOK_S = 0.1
_AGAIN_S = 1.0
_LOOKS_MAX = 200
_FINISHED_S = 5.0
"""How long a worker waits for a notice under way; past that the nonce keeps both from standing."""


@dataclass(frozen=True, slots=True)
class UsherSettings:
    """When people are told, in seconds."""

    silence_s: float = 2.5
    """0 tells nobody that they are in line."""
    maintenance_every_s: float = 300.0
    queued_least_s: float = 5.0
    """Under forced queueing every message waits at least so long for its turn."""
    telling_max: int = 16
    channels_max: int = 5000


class Usher:
    """Owns the tasks that give notices; `finished` lets a worker wait for the one of its job."""

    def __init__(
        self,
        queue: JobQueue,
        delivery: Delivery,
        load: Load,
        modes: Modes,
        bus: EventBus,
        clock: Clock,
        settings: UsherSettings,
    ) -> None:
        """Watch who enters `queue`; speak through `delivery`."""
        self._queue = queue
        self._delivery = delivery
        self._load = load
        self._modes = modes
        self._bus = bus
        self._clock = clock
        self.settings = settings
        # Who has heard nothing yet, and from when on they should, in the order of arrival.
        self._line: OrderedDict[int, float] = OrderedDict()
        self._next: deque[tuple[int, str]] = deque()
        self._telling: dict[int, asyncio.Task[None]] = {}
        self._told_channels: OrderedDict[int, float] = OrderedDict()

    # ── who enters ──────────────────────────────────────────────────────────────────────────────

    def entered(self, job: Job) -> None:
        """A job waits for the first time in this life; `JobQueue.entered`."""
        if job.priority is Priority.OPERATOR:
            return
        now = self._clock.monotonic()
        if self._modes.maintenance:
            if job.parts:
                # An earlier life gave a notice here.
                self._note_told(job.inbound.channel_id, now)
            elif self._may_tell(job, now):
                self._next.append((job.message_id, "maintenance"))
                return
        elif self._modes.queueing and not job.parts:
            wait_s = max(self.settings.queued_least_s, self._load.wait_s(_author(job)) or 0.0)
            job.due_s = max(job.due_s, self._clock.wall() + wait_s)
            self._next.append((job.message_id, "queued"))
            return
        if self.settings.silence_s > 0 and not job.parts:
            self._line[job.message_id] = now + self.settings.silence_s

    def _may_tell(self, job: Job, now: float) -> bool:
        """Whether a channel is told of maintenance; a command always is, it shows no other sign."""
        channel_id = job.inbound.channel_id
        told_at = self._told_channels.get(channel_id)
        if told_at is not None and now - told_at < self.settings.maintenance_every_s:
            return job.inbound.interaction is not None
        self._note_told(channel_id, now)
        return True

    def _note_told(self, channel_id: int, now: float) -> None:
        self._told_channels[channel_id] = now
        self._told_channels.move_to_end(channel_id)
        if len(self._told_channels) > self.settings.channels_max:
            self._told_channels.popitem(last=False)

    # ── telling ─────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Look again and again who should be told; ends only by cancellation."""
        while True:
            self.look()
            await self._clock.sleep(_LOOK_S)

    def look(self) -> None:
        """Begin to tell those who have waited in silence for long enough."""
        now = self._clock.monotonic()
        if not self._modes.maintenance:
            for _ in range(_LOOKS_MAX):
                if not self._line or len(self._next) >= self.settings.telling_max:
                    break
                message_id, at = next(iter(self._line.items()))
                if at > now:
                    break
                del self._line[message_id]
                self._consider(message_id, now)
        self._begin()

    def _consider(self, message_id: int, now: float) -> None:
        job = self._queue.waiting(message_id)
        if job is None or job.told or job.noticed:
            return
        if self._delivery.is_tight(job) or not self._queue.is_first(job):
            # Answers first: what Discord still takes in this channel is not for notices. And who
            # waits for an earlier answer here has heard of that one, which must come before this.
            self._line[message_id] = now + _AGAIN_S
            return
        self._next.append((message_id, "in_line"))

    def _begin(self) -> None:
        while self._next and len(self._telling) < self.settings.telling_max:
            message_id, key = self._next.popleft()
            job = self._queue.waiting(message_id)
            if job is None or message_id in self._telling:
                continue
            if not self._queue.is_first(job):
                self._line[message_id] = self._clock.monotonic() + _AGAIN_S
                continue
            task = asyncio.create_task(self._tell(job, key), name=f"notice-{message_id}")
            self._telling[message_id] = task
            task.add_done_callback(partial(self._ended, message_id))

    async def _tell(self, job: Job, key: str) -> None:
        try:
            async with self._delivery.open(job, silent=True) as reply:
                await reply.finish(self._words(job, key))
        except LlmbotError:
            # Discord is away or refuses: whoever has the job next finds out and deals with it.
            return
        job.told = key

    def _words(self, job: Job, key: str) -> str:
        locale, variant = job.inbound.locale, job.message_id >> 22
        if key == "maintenance":
            return notice(key, locale, variant=variant)
        wait_s = self._load.wait_s(_author(job))
        if key == "queued":
            wait_s = max(wait_s or 0.0, job.due_s - self._clock.wall(), 1.0)
            return notice(key, locale, variant=variant, wait=span(wait_s, locale))
        models = self._load.models()
        if not models.ready:
            return waiting_words(job, models.wait_s)
        if wait_s is None or wait_s < 1:
            return notice("in_line", locale, variant=variant)
        return notice("crowded", locale, variant=variant, wait=span(wait_s, locale))

    def words_for_silence(self, job: Job) -> str:
        """What stands in for an answer that is being worked on and does not come."""
        troubled = self._load.struggling or not self._load.models().ready
        key = "slow" if troubled else "working"
        return notice(key, job.inbound.locale, variant=job.message_id >> 22)

    # ── the end of telling ──────────────────────────────────────────────────────────────────────

    async def finished(self, job: Job) -> None:
        """Wait for the notice of a job that is under way, so that its answer finds it there."""
        task = self._telling.get(job.message_id)
        if task is not None:
            await asyncio.wait((task,), timeout=_FINISHED_S)

    async def drain(self) -> None:
        """End the notices that are under way."""
        self._next.clear()
        tasks = tuple(self._telling.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _ended(self, message_id: int, task: asyncio.Task[None]) -> None:
        del self._telling[message_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._bus.publish(TaskDied(task.get_name(), type(error).__name__, None))
        self._begin()


def waiting_words(job: Job, wait_s: float | None) -> str:
    """What is said to whoever waits for a model that is away, with the time where it is known."""
    locale, variant = job.inbound.locale, job.message_id >> 22
    if wait_s is None or not 1 <= wait_s < inf:
        return notice("waiting", locale, variant=variant)
    return notice("waiting_until", locale, variant=variant, wait=span(wait_s, locale))


def _author(job: Job) -> int:
    return job.inbound.author_id
