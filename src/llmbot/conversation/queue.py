"""The queue between the claim and the workers: durable behind, in memory in front.

The database says what waits; the memory says whose turn it is. A job enters after its claim is
durable and leaves when its end is stored, so that a kill at any moment loses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from heapq import nlargest
from itertools import islice
from math import inf

from llmbot.conversation.jobs import Job, JobState, check_transition
from llmbot.conversation.ledger.job_store import JobStore
from llmbot.conversation.messages import Inbound, Source
from llmbot.kernel.clock import Clock
from llmbot.kernel.events import EventBus, JobMoved
from llmbot.resilience.fair import FairQueue, Priority

_WAITING = JobState.WAITING
_HELD_LOOK_S = 1.0
"""While held, an operator's message that becomes due is found within so many seconds."""


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """The queue at a glance; times in seconds."""

    waiting: int
    in_flight: int
    by_priority: dict[str, int]
    capacity: int
    oldest_s: float
    retrying: int = 0
    """Of those that wait: tried before, or told to be patient."""
    held: bool = False
    """Maintenance: only operators' messages are handed out."""


class JobQueue:
    """Jobs by fair turns: one at a time for a user in a channel, users side by side."""

    def __init__(
        self, store: JobStore, bus: EventBus, clock: Clock, *, capacity: int, hard_max: int
    ) -> None:
        """Shed above `capacity`; `hard_max` bounds the memory even while nothing can be shed."""
        self._store = store
        self._bus = bus
        self._clock = clock
        self._fair: FairQueue[tuple[int, int], Job] = FairQueue(capacity=hard_max)
        self._capacity = capacity
        self._jobs: dict[int, Job] = {}
        self._news = asyncio.Event()
        self._held = False
        self._kept: set[int] = set()
        self._leaving: dict[tuple[int, int], dict[int, Job]] = {}
        self.shed: Callable[[Job], None] | None = None
        self.room: Callable[[], int | None] | None = None
        """How many can be served in good time; None where nobody knows."""
        self.entered: Callable[[Job], None] | None = None
        """Told of each job that waits here for the first time in this life of the process."""

    # ── in ──────────────────────────────────────────────────────────────────────────────────────

    def put(self, job: Job) -> None:
        """Let a claimed job wait for its turn; sheds another when more wait than can be served."""
        fresh = job.message_id not in self._jobs
        if fresh and self.entered is not None:
            self.entered(job)
        if not job.times.received:
            # An earlier life took it up; it may come here from a hold, among newer ones.
            self._kept.add(job.message_id)
        now = self._clock.monotonic()
        delay = job.due_s - self._clock.wall()
        self._fair.push(
            job.priority,
            job.inbound.author_id,
            job.order_key,
            job,
            order=job.message_id,
            now=now,
            due=now + delay if delay > 0 else None,
        )
        self._jobs[job.message_id] = job
        self._news.set()
        # Those that were promised an answer always have room; to forecast it costs something.
        while len(self._fair) > self._promised() and len(self._fair) > self._most():
            if self.shed is None:
                break
            victim = self._fair.oldest_of_heaviest()
            if victim is not None and self._is_promised(victim, job):
                # Whoever comes now can still be told to come later.
                victim = job
            if victim is None or self.withdraw(victim.message_id) is None:
                break
            self._leaving.setdefault(victim.order_key, {})[victim.message_id] = victim
            self.shed(victim)

    def left(self, job: Job) -> None:
        """Leave was taken of a job that was pushed out, or could not be: it is to wait again."""
        leaving = self._leaving.get(job.order_key, {})
        leaving.pop(job.message_id, None)
        if not leaving:
            self._leaving.pop(job.order_key, None)
        for later in self._fair.behind(job.order_key, job.message_id):
            if later.due_s <= self._clock.wall():
                self.bring_forward(later.message_id)

    def _must_wait(self, job: Job) -> bool:
        """Whether an earlier one of its line is being taken leave of: it may yet be answered."""
        return any(earlier < job.message_id for earlier in self._leaving.get(job.order_key, ()))

    def _is_promised(self, victim: Job, newcomer: Job) -> bool:
        """Whether a job was promised an answer that `newcomer` may not cost it.

        Who was told to be in line keeps the place against everybody who has as many waiting.
        """
        if victim.message_id in self._kept:
            return True
        of = self._fair.waiting_of
        return bool(victim.told) and of(newcomer.inbound.author_id) >= of(victim.inbound.author_id)

    def _promised(self) -> int:
        return min(self._fair.capacity - 1, len(self._kept))

    def _most(self) -> int:
        """How many may wait: the capacity, or fewer where they would wait for too long.

        Those that were promised an answer take nobody's place; while held, all are promised one.
        """
        if self._held:
            return self._fair.capacity - 1
        room = self.room() if self.room is not None else None
        most = self._capacity if room is None else min(self._capacity, room)
        return min(self._fair.capacity - 1, most + len(self._kept))

    def __len__(self) -> int:
        """How many wait."""
        return len(self._fair)

    def adopt(self, job: Job) -> None:
        """Take up a job of an earlier life: it waits again, whatever it was doing at the end."""
        if job.state is not JobState.WAITING:
            self.move(job, JobState.WAITING, "its owner is gone")
        # What it waited for may be over: a new life is a new chance.
        job.due_s = min(job.due_s, self._clock.wall())
        self.put(job)

    def revive(self, job: Job) -> bool:
        """Let a dead letter wait for its turn anew; False for a job that is none."""
        if job.state is not JobState.DEAD or job.message_id in self._jobs:
            return False
        job.attempts = job.pauses = 0
        job.due_s = self._clock.wall()
        job.inbound = replace(job.inbound, source=Source.OPERATOR)
        self._store.amend(job)
        self.move(job, JobState.WAITING, "revived by an operator")
        self.put(job)
        return True

    # ── out ─────────────────────────────────────────────────────────────────────────────────────

    async def next(self) -> Job:
        """The job whose turn it is, leased; waits until there is one."""
        while True:
            now = self._clock.monotonic()
            worst = Priority.OPERATOR if self._held else Priority.BACKGROUND
            job = self._fair.pop_ready(now, worst=worst)
            if job is not None and self._must_wait(job):
                # Until `left` says that it may go on.
                job.due_s = min(job.due_s, self._clock.wall())
                self._fair.put_back(job.order_key, now, due=inf)
                continue
            if job is not None:
                self._kept.discard(job.message_id)
                job.times.leased = now
                job.attempts += 1
                self.move(job, JobState.LEASED, f"attempt {job.attempts}")
                return job
            self._news.clear()
            due = now + _HELD_LOOK_S if self._held else self._fair.next_due(now)
            await self._wait(None if due == inf else due, now)

    async def _wait(self, due: float | None, now: float) -> None:
        if due is None:
            await self._news.wait()
            return
        timer = asyncio.create_task(self._clock.sleep(due - now), name="queue-due")
        news = asyncio.create_task(self._news.wait(), name="queue-news")
        try:
            await asyncio.wait((timer, news), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            news.cancel()
            await asyncio.gather(timer, news, return_exceptions=True)

    def has_due(self) -> bool:
        """Whether a job could be handed out at this moment."""
        now = self._clock.monotonic()
        due = None if self._held else self._fair.next_due(now)
        return due is not None and due <= now

    def step_aside(self, job: Job) -> None:
        """A leased job goes on for long: its author's later messages need not wait for it."""
        if not job.aside:
            before, job.aside = job.order_key, True
            self._fair.step_aside(before, job.order_key, self._clock.monotonic())
            self._news.set()

    def release(self, job: Job) -> None:
        """The lease has ended; the job waits again or has ended, as its state says."""
        now = self._clock.monotonic()
        if job.state is JobState.WAITING:
            if job.answer is not None or job.noticed:
                # It has its answer, or was told to wait for it.
                self._kept.add(job.message_id)
            delay = max(0.0, job.due_s - self._clock.wall())
            self._fair.put_back(job.order_key, now, due=now + delay)
        else:
            self._fair.done(job.order_key, now)
            self._jobs.pop(job.message_id, None)
        self._news.set()

    def move(self, job: Job, after: JobState, reason: str, **kept: object) -> asyncio.Future[None]:
        """Change a job's state by the table, in memory and in the database.

        Raises:
            DefectError: the table of transitions does not know it.
        """
        before = job.state
        check_transition(before, after)
        job.state = after
        written = self._store.move(job, after, reason, **kept)  # type: ignore[arg-type] # checked by JobStore.move's own signature
        self._bus.publish(JobMoved(job.message_id, before.value, after.value, reason))
        return written

    def tell(self, message_id: int, fact: str, detail: str) -> None:
        """Add a line to the story of a job that is known here."""
        if message_id in self._jobs:
            self._store.tell(message_id, fact, detail, trailing=True).add_done_callback(_look_at)

    # ── what the author or the operator changes ─────────────────────────────────────────────────

    def waiting(self, message_id: int) -> Job | None:
        """A job that waits for its turn, or None."""
        job = self._jobs.get(message_id)
        if job is None or not self._fair.is_waiting(job.order_key, message_id):
            return None
        return job

    def may_speak(self, job: Job) -> bool:
        """Whether all earlier ones of its author in its channel have their place on Discord.

        A notice given before would stand above theirs: the answer to it would have to move.
        """
        answering = self._fair.in_flight_of(job.order_key)
        if answering is not None and len(answering.parts) != 1:
            return False
        first = self._fair.first_of(job.order_key)
        return first is None or first is job or bool(first.parts)

    def leased(self, message_id: int) -> Job | None:
        """A job that is being answered, or None."""
        job = self._jobs.get(message_id)
        return None if job is None or self.waiting(message_id) is not None else job

    def leaving(self, message_id: int) -> Job | None:
        """A job that was pushed out and whose author is being told, or None."""
        return next(
            (jobs[message_id] for jobs in self._leaving.values() if message_id in jobs), None
        )

    def knows(self, message_id: int) -> bool:
        """Whether a job waits here or is being answered."""
        return message_id in self._jobs

    def of_author(self, author_id: int) -> list[Job]:
        """A user's jobs that wait here or are being answered."""
        return [job for job in self._jobs.values() if job.inbound.author_id == author_id]

    def withdraw(self, message_id: int) -> Job | None:
        """Take a waiting job out of its turn; None where it does not wait."""
        job = self._jobs.get(message_id)
        if job is None:
            return None
        taken = self._fair.remove(job.order_key, message_id, self._clock.monotonic())
        if taken is not None:
            del self._jobs[message_id]
            self._kept.discard(message_id)
        return taken

    def withdraw_fresh(self, after_id: int) -> list[Job]:
        """Take out the waiting jobs of messages after this id that nobody has begun yet."""
        fresh = [
            job
            for job in self._fair
            if job.message_id > after_id and not job.attempts and not job.in_flight_before
        ]
        return [job for job in fresh if self.withdraw(job.message_id) is not None]

    def amend(self, message_id: int, inbound: Inbound) -> bool:
        """Replace the question of a waiting job by what its author edited it to.

        An answer that waited for Discord answers another question now.
        """
        job = self.waiting(message_id)
        if job is None:
            return False
        job.inbound, job.answer = inbound, None
        self._store.amend(job)
        return True

    def leave_to_channel(self, job: Job) -> None:
        """A command that cannot be answered in its place is answered in the channel from now on."""
        if job.inbound.interaction is not None:
            ended = replace(job.inbound.interaction, token="")
            job.inbound = replace(job.inbound, interaction=ended)
            self._store.amend(job)

    def hold(self, *, on: bool) -> None:
        """Hand out nothing but operators' messages, or everything again.

        What came meanwhile was promised an answer, and no overload sheds it.
        """
        if self._held and not on:
            self._kept.update(job.message_id for job in self._fair)
        self._held = on
        self._news.set()

    def bring_forward(self, message_id: int) -> bool:
        """Make one waiting job due now; False where it does not wait."""
        job = self._jobs.get(message_id)
        if job is None:
            return False
        job.due_s = min(job.due_s, self._clock.wall())
        self._news.set()
        return self._fair.bring_forward(job.order_key, message_id, self._clock.monotonic())

    def hasten(self, priority: Priority | None = None) -> int:
        """Make all waiting jobs, or those of one class, due now; answers how many had to wait."""
        moved = self._fair.hasten(self._clock.monotonic(), priority)
        self._news.set()
        return moved

    def facts(self) -> QueueFacts:
        """The queue at a glance."""
        now = self._clock.wall()
        oldest = min((job.created_s for job in self._jobs.values()), default=now)
        return QueueFacts(
            waiting=len(self._fair),
            in_flight=self._fair.in_flight,
            by_priority={p.name.lower(): n for p, n in self._fair.counts().items()},
            capacity=self._capacity,
            oldest_s=max(0.0, now - oldest),
            retrying=sum(job.pauses > 0 and job.state is _WAITING for job in self._jobs.values()),
            held=self._held,
        )

    def newest(self, count: int) -> list[Job]:
        """The newest of the jobs that wait or are being answered; O(n log count)."""
        return nlargest(count, self._jobs.values(), key=lambda job: job.message_id)

    def sample(self, count: int) -> list[Job]:
        """A few of the jobs that wait or are being answered; for an estimate of their size."""
        return list(islice(self._jobs.values(), count))

    def turns_before(self, author_id: int) -> int:
        """How many jobs would be served before a new one of this user."""
        return self._fair.turns_before(author_id)


def _look_at(written: asyncio.Future[None]) -> None:
    if not written.cancelled():
        written.exception()
