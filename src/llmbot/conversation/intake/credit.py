"""Answers while the disk refuses: on credit, bounded, and nothing is acknowledged before its time.

A claim that is not durable after a short patience is tried on, and its message keeps holding the
place in the gateway's stream: for Discord and for the next life it is not accepted yet. Its author
need not wait for the disk, though: the message is answered meanwhile, if the database can still say
that it knows nothing of it. When the claim is durable at last, what has become of the message is
written too. A kill before then lets the next life hear the message again; it finds the reply in the
channel by the message it answers (`Reply.doubtful`), and brings that one to its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from llmbot.conversation.jobs import Job, JobState, Priority
from llmbot.conversation.ledger.job_store import JobStore
from llmbot.conversation.messages import Inbound
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError
from llmbot.kernel.events import EventBus, Level

AFTER_S = 2.0
"""Patience with the disk; a healthy one needs milliseconds."""

LENT_MAX = 1000
"""Messages that may be answered without a durable claim; beyond them messages wait for the disk."""

_LOOK_S = 2.0


@dataclass(frozen=True, slots=True)
class AnsweredOnCredit:
    """The disk does not take a message's claim; it is answered meanwhile."""

    level: ClassVar[Level] = Level.WARNING
    message_id: int
    lent: int

    def describe(self) -> str:
        """See `Event.describe`."""
        return f"Message {self.message_id} is answered before the disk takes it ({self.lent} such)"


class Loan:
    """One message whose claim is on its way; `job` is what was let in before the claim, if any."""

    def __init__(
        self,
        inbound: Inbound,
        received: float,
        may: Callable[[], bool],
        let_in: Callable[[Job | None], bool],
    ) -> None:
        """Lend by `let_in`, once `may` says that nothing earlier of its conversation waits.

        `let_in` gets None for a message that was settled before, and tells whether it took the job.
        """
        self.inbound = inbound
        self.received = received
        self.may = may
        self.let_in = let_in
        self.job: Job | None = None
        self._closed = False
        self.timer: asyncio.TimerHandle | None = None

    def is_open(self) -> bool:
        """Whether the claim is still on its way."""
        return not self._closed

    def close(self) -> None:
        """The claim is stored, or was given up."""
        self._closed = True
        if self.timer is not None:
            self.timer.cancel()


class Credit:
    """Lends answers to messages whose claims are not stored yet."""

    def __init__(
        self,
        store: JobStore,
        bus: EventBus,
        clock: Clock,
        *,
        after_s: float = AFTER_S,
        lent_max: int = LENT_MAX,
    ) -> None:
        """Lend after `after_s` seconds, to at most `lent_max` messages at once."""
        self._store = store
        self._bus = bus
        self._clock = clock
        self._after_s = after_s
        self._lent_max = lent_max
        self._lent = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def watch(
        self, inbound: Inbound, may: Callable[[], bool], let_in: Callable[[Job | None], bool]
    ) -> Loan:
        """A claim is on its way; where it takes too long, `let_in` gets the message's job.

        See `Loan`.
        """
        loan = Loan(inbound, self._clock.monotonic(), may, let_in)
        loan.timer = asyncio.get_running_loop().call_later(self._after_s, self._begin, loan)
        return loan

    def repay(self, loan: Loan) -> None:
        """The claim of a message that was let in before is durable: write how it stands now."""
        self._lent -= 1
        job = loan.job
        if job is None:
            return
        if job.state is not JobState.WAITING:
            # Its own moves found no row to change; one that was refused knows what to remember.
            refused = self._store.sure.once_more((job.message_id, "state"))
            if refused is None:
                self._store.move(job, job.state, "stored late")
        elif job.inbound is not loan.inbound:
            self._store.amend(job)

    async def close(self) -> None:
        """Lend no more."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def _begin(self, loan: Loan) -> None:
        task = asyncio.create_task(self._lend(loan), name=f"lend-{loan.inbound.message_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _lend(self, loan: Loan) -> None:
        while loan.is_open():
            if self._lent < self._lent_max and loan.may():
                message_id = loan.inbound.message_id
                try:
                    # A disk that hangs may let nobody read either.
                    async with asyncio.timeout(_LOOK_S):
                        new = self._store.known.is_new(message_id)
                        state = None if new else await self._store.state_of(message_id)
                except (LlmbotError, TimeoutError):
                    # Whether it was answered before cannot be known: it waits.
                    pass
                else:
                    if loan.is_open():
                        self._decide(loan, state)
                    return
            await self._clock.sleep(self._after_s)

    def _decide(self, loan: Loan, state: JobState | None) -> None:
        """Lend to what is new, or was stored by this very claim although it was told to fail."""
        now = self._clock.wall()
        job = Job(loan.inbound, Priority.USER, JobState.WAITING, created_s=now, due_s=now)
        job.times.received = loan.received
        if loan.let_in(job if state in (None, JobState.WAITING) else None):
            loan.job = job
            self._lent += 1
            self._bus.publish(AnsweredOnCredit(job.message_id, self._lent))
