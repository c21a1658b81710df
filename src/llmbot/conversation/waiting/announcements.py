"""Tells people what their message waits for, while it waits for its turn.

Workers speak for the messages they have; announcements are for those in line. Whoever would hear
nothing for `silence_s` seconds gets a notice with the expected wait, and at once where no model can
be asked; under maintenance each channel is told once a cool-down; under forced queueing everyone is
told at once. A notice stands where the answer will: it is edited into it. Notices give way to
answers when Discord's limits are tight.

One author's messages in one channel are told in their order, each after the one before it has its
place. Where an earlier answer comes to stand below a notice, its answer moves (`replies/reply.py`).
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from math import inf

from llmbot.conversation.delivery import Delivery
from llmbot.conversation.jobs import Job, Priority
from llmbot.conversation.modes import Modes
from llmbot.conversation.queue import JobQueue
from llmbot.conversation.text.notices import notice, span
from llmbot.conversation.waiting.load import Load
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import RefusedError, TransientError
from llmbot.kernel.events import EventBus, TaskDied

__all__ = ["AnnouncementSettings", "Announcements", "waiting_words"]

WAITING_FOR_MODEL = "waiting"
"""What a job was told in line that then needs no further notice while its model is away."""

_LOOK_S = 0.1
_AGAIN_S = 1.0
_NEXT_S = 0.2
"""How soon it is looked again for room, and whether the message before has its place."""
_LOOKS_MAX = 500
"""So many lines are looked at in one step of the loop."""
_FINISHED_S = 5.0
"""How long a worker waits for a notice under way."""


@dataclass(frozen=True, slots=True)
class AnnouncementSettings:
    """When people are told, in seconds."""

    silence_s: float = 2.5
    """0 tells nobody that they are in line."""
    maintenance_every_s: float = 300.0
    queued_least_s: float = 5.0
    """Under forced queueing every message waits at least so long for its turn."""
    telling_max: int = 16
    channels_max: int = 5000


_Key = tuple[int, int]
"""`Job.order_key`."""


@dataclass(frozen=True, slots=True, order=True)
class _Silent:
    """A message that has heard nothing yet; from `at` on it should be told `key`."""

    message_id: int
    key: str
    at: float


class Announcements:
    """Owns the tasks that give notices; `finished` lets a worker wait for the one of its job."""

    def __init__(
        self,
        queue: JobQueue,
        delivery: Delivery,
        load: Load,
        modes: Modes,
        bus: EventBus,
        clock: Clock,
        settings: AnnouncementSettings,
    ) -> None:
        """Watch who enters `queue`; speak through `delivery`."""
        self._queue = queue
        self._delivery = delivery
        self._load = load
        self._modes = modes
        self._bus = bus
        self._clock = clock
        self.settings = settings
        # Who has heard nothing yet, line by line, and when each line is looked at next: a line that
        # has nobody under notice stands in `_looks` exactly once.
        self._lines: dict[_Key, list[_Silent]] = {}
        self._looks: list[tuple[float, _Key]] = []
        self._telling: dict[_Key, tuple[int, asyncio.Task[None]]] = {}
        self._told_channels: OrderedDict[int, float] = OrderedDict()
        self._closed = False

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
                self._await_turn(job, "maintenance", now)
                return
        elif self._modes.queueing and not job.parts:
            # Not for the time that it is told: a forecast that proves too dark must hold nobody up.
            job.due_s = max(job.due_s, self._clock.wall() + self.settings.queued_least_s)
            self._await_turn(job, "queued", now)
            return
        if self.settings.silence_s > 0 and not job.parts:
            # Where no model can be asked there is nothing to wait for: it is told at once.
            silence_s = self.settings.silence_s if self._load.models().ready else 0.0
            self._await_turn(job, "in_line", now + silence_s)

    def _await_turn(self, job: Job, key: str, at: float) -> None:
        line = self._lines.setdefault(job.order_key, [])
        insort(line, _Silent(job.message_id, key, at))
        if len(line) == 1 and job.order_key not in self._telling:
            heappush(self._looks, (at, job.order_key))

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
        for _ in range(_LOOKS_MAX):
            if self._closed or not self._looks or self._looks[0][0] > now:
                return
            if len(self._telling) >= self.settings.telling_max:
                return
            _, key = heappop(self._looks)
            self._look_at(key, now)

    def _look_at(self, key: _Key, now: float) -> None:
        """Tell the first silent one of a line, or come back to it later."""
        line = self._lines[key]
        while line:
            silent = line[0]
            job = self._queue.waiting(silent.message_id)
            if job is not None and not (job.parts or job.told or job.noticed):
                break
            del line[0]
        else:
            del self._lines[key]
            return
        wait_s = self._wait_s(job, silent, now)
        if wait_s > 0:
            heappush(self._looks, (now + wait_s, key))
            return
        del line[0]
        task = asyncio.create_task(self._tell(job, silent.key), name=f"notice-{job.message_id}")
        self._telling[key] = (job.message_id, task)
        task.add_done_callback(partial(self._ended, key))

    def _wait_s(self, job: Job, silent: _Silent, now: float) -> float:
        """How long a notice has to wait for its time, and for what matters more."""
        if silent.at > now:
            return silent.at - now
        if silent.key == "in_line" and self._modes.maintenance:
            return _AGAIN_S
        if silent.key == "in_line" and self._delivery.is_tight(job):
            # Answers first: what Discord still takes in this channel is not for notices.
            return _NEXT_S
        return 0.0 if self._queue.may_speak(job) else _NEXT_S

    async def _tell(self, job: Job, key: str) -> None:
        try:
            async with self._delivery.open(job, silent=True) as reply:
                if key == "in_line" and not self._load.models().ready:
                    key = WAITING_FOR_MODEL
                job.unsure = True
                await reply.finish(self._words(job, key))
                job.unsure = False
        except TransientError:
            # It may stand all the same: nobody behind it is told before that is known.
            self._await_turn(job, key, self._clock.monotonic() + _AGAIN_S)
        except RefusedError:
            # Whoever has the job next finds out and deals with it.
            job.unsure = False
        else:
            job.told = key

    def _words(self, job: Job, key: str) -> str:
        locale, variant = job.inbound.locale, job.message_id >> 22
        if key == "maintenance":
            return notice(key, locale, variant=variant)
        wait_s = self._load.wait_s(_author(job))
        if key == "queued":
            wait_s = max(wait_s or 0.0, job.due_s - self._clock.wall(), 1.0)
            return notice(key, locale, variant=variant, wait=span(wait_s, locale))
        if key == WAITING_FOR_MODEL:
            return waiting_words(job, self._load.models().wait_s)
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
        """Wait for the notice of a job that is under way: its answer finds it there.

        One that takes too long is given up: whoever has the job then looks whether it stands.
        """
        message_id, task = self._telling.get(job.order_key, (0, None))
        if task is not None and message_id == job.message_id:
            await asyncio.wait((task,), timeout=_FINISHED_S)
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))

    async def drain(self) -> None:
        """End the notices that are under way."""
        self._closed = True
        tasks = tuple(task for _, task in self._telling.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _ended(self, key: _Key, task: asyncio.Task[None]) -> None:
        del self._telling[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._bus.publish(TaskDied(task.get_name(), type(error).__name__, None))
        if self._lines.get(key):
            heappush(self._looks, (self._clock.monotonic(), key))
        else:
            self._lines.pop(key, None)
        self.look()


def waiting_words(job: Job, wait_s: float | None) -> str:
    """What is said to whoever waits for a model that is away, with the time where it is known."""
    locale, variant = job.inbound.locale, job.message_id >> 22
    if wait_s is None or not 1 <= wait_s < inf:
        return notice("waiting", locale, variant=variant)
    return notice("waiting_until", locale, variant=variant, wait=span(wait_s, locale))


def _author(job: Job) -> int:
    return job.inbound.author_id
