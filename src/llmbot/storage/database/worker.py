"""A thread that owns one connection and takes units of work in the order of their submission.

Whatever waits when the thread turns to its queue goes into one batch; only units that nobody waits
for lie still for others to share theirs. The units of one turn of the event loop wake the thread
once, and all futures of a batch are handed back by one call into the loop: to change threads costs
more than a unit. There a few of them are answered in each turn: their awaiters all go on in the
next, and others, the gateway's heartbeat among them, are to have their turn between.

Every statement gives Python's global lock away and takes it again, and a busy event loop hands it
over only every `sys.getswitchinterval()`, 5 ms by default: a program whose loop is busy should set
0.1 ms, which was measured to speed batches up tenfold under a saturated loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

from llmbot.kernel.errors import DefectError, ShuttingDownError, StoreUnavailableError
from llmbot.storage.database.contract import Work

T = TypeVar("T")

ANSWERS_A_TURN = 16
"""Futures that are answered in one turn of the loop."""

TRAIL_S = 0.01
"""How long a unit that nobody waits for lies still for others to share its commit with."""


class Unit:
    """A unit of work with the future that waits for it, and later what became of it."""

    __slots__ = ("error", "future", "value", "work")

    def __init__(self, work: Work[Any], future: asyncio.Future[Any]) -> None:
        """Not run yet."""
        self.work = work
        self.future = future
        self.value: Any = None
        self.error: BaseException | None = None

    def resolve(self) -> None:
        """Tell the future; on its loop. One that was cancelled meanwhile hears nothing."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.value)
        else:
            self.future.set_exception(self.error)


class Duty(Protocol):
    """What the thread does; each method runs on it."""

    def open(self) -> None:
        """Prepare; what it raises is raised by `Worker.start`, and the thread ends."""
        ...

    def process(self, batch: Sequence[Unit]) -> None:
        """Run the units and note value or error in each."""
        ...

    def tidy(self) -> None:
        """Do what may be done after the futures of a batch were told."""
        ...

    def close(self) -> None:
        """Give everything back; what it raises is raised by `Worker.stop`."""
        ...


class Worker:
    """The thread and its bounded queue; used from one event loop."""

    def __init__(self, name: str, duty: Duty, *, queue_max: int, batch_max: int) -> None:
        """Take at most `queue_max` waiting units, and `batch_max` of them at once."""
        self._name = name
        self._duty = duty
        self._queue_max = queue_max
        self._batch_max = batch_max
        self._queue: SimpleQueue[Unit | None] = SimpleQueue()
        self._held: list[Unit] = []
        self._release_due: asyncio.Handle | None = None
        self._release_soon = False
        self._accepting = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None
        self._answers: deque[Unit] = deque()
        self.queued = 0

    def submit(self, work: Work[T], *, trailing: bool = False) -> asyncio.Future[T]:
        """Queue a unit; a refusal is the future's error.

        A trailing one goes with the next that is not, at the latest after `TRAIL_S` seconds.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if not self._accepting:
            future.set_exception(ShuttingDownError("The database is not open."))
        elif self.queued >= self._queue_max:
            future.set_exception(
                StoreUnavailableError(
                    f"The database is too slow: {self.queued} units of work wait for it."
                )
            )
        else:
            self.queued += 1
            self._held.append(Unit(work, future))
            self._plan_release(future.get_loop(), soon=not trailing)
        return future

    def _plan_release(self, loop: asyncio.AbstractEventLoop, *, soon: bool) -> None:
        if self._release_due is not None:
            if self._release_soon or not soon:
                return
            self._release_due.cancel()
        self._release_soon = soon
        self._release_due = (
            loop.call_soon(self._release) if soon else loop.call_later(TRAIL_S, self._release)
        )

    def _release(self) -> None:
        """Hand what is held to the thread, in the order in which it was submitted."""
        if self._release_due is not None:
            self._release_due.cancel()
            self._release_due = None
        held, self._held = self._held, []
        for unit in held:
            self._queue.put(unit)

    async def start(self) -> None:
        """Start the thread and wait until its duty is open."""
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = self._loop.create_future()
        self._ended = self._loop.create_future()
        # A daemon: a disk that hangs must not keep the process from ending.
        threading.Thread(
            target=self._run, args=(opened, self._ended), name=self._name, daemon=True
        ).start()
        try:
            await opened
        except asyncio.CancelledError:
            # The thread may be opening still; it closes again, and `stop` waits for that.
            self._queue.put(None)
            raise
        self._accepting = True

    async def stop(self) -> None:
        """Refuse new units, finish the queued ones, close; nothing where it does not run."""
        if self._accepting:
            self._accepting = False
            self._release()
            self._queue.put(None)
        ended = self._ended
        if ended is not None:
            try:
                # Shielded: a caller that is cancelled must not end it for another.
                await asyncio.shield(ended)
            finally:
                if ended.done():
                    self._ended = None

    def _run(self, opened: asyncio.Future[None], ended: asyncio.Future[None]) -> None:
        error = _attempt(self._duty.open)
        self._tell(opened, error)
        if error is not None:
            self._tell(ended, None)
            return
        stopping = False
        while not stopping:
            batch, stopping = self._take()
            if batch:
                self._process(batch)
        self._tell(ended, _attempt(self._duty.close))

    def _take(self) -> tuple[list[Unit], bool]:
        batch: list[Unit] = []
        unit = self._queue.get()
        with contextlib.suppress(Empty):
            while unit is not None:
                batch.append(unit)
                if len(batch) == self._batch_max:
                    return batch, False
                unit = self._queue.get_nowait()
            return batch, True
        return batch, False

    def _process(self, batch: Sequence[Unit]) -> None:
        try:
            self._duty.process(batch)
        except BaseException as error:  # noqa: BLE001 - the futures' awaiters rely on an answer
            for unit in batch:
                unit.error = DefectError(f"The database thread failed: {type(error).__name__}")
        self._call(self._take_back, batch)
        _attempt(self._duty.tidy)

    def _take_back(self, batch: Sequence[Unit]) -> None:
        self.queued -= len(batch)
        self._answer(batch)

    def _answer(self, units: Sequence[Unit]) -> None:
        """On the loop: answer these after all that came before them."""
        idle = not self._answers
        self._answers.extend(units)
        if idle:
            self._answer_some()

    def _answer_some(self) -> None:
        for _ in range(min(ANSWERS_A_TURN, len(self._answers))):
            self._answers.popleft().resolve()
        if self._answers:
            asyncio.get_running_loop().call_soon(self._answer_some)

    def _tell(self, future: asyncio.Future[None], error: BaseException | None) -> None:
        unit = Unit(_nothing, future)
        unit.error = error
        self._call(self._answer, (unit,))

    def _call(self, *call: Any) -> None:
        if self._loop is not None:
            # The loop was closed before us: nobody is left to be told.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(*call)


def _nothing(_: object) -> None:
    """Stand in for the work of a future that waits for the thread itself."""


def _attempt(step: Any) -> BaseException | None:
    try:
        step()
    except BaseException as error:  # noqa: BLE001 - handed to whoever awaits the thread
        return error
    return None
