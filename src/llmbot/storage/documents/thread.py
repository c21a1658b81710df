"""A thread that does one piece of disk work after the other, so that the event loop does none."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from llmbot.kernel.errors import LlmbotError, ShuttingDownError, StoreUnavailableError
from llmbot.storage.documents.writer import unavailable

T = TypeVar("T")

WAITING_MAX = 10_000
"""Pieces of work that may wait; a disk that hangs must not fill the memory."""


class DiskWorker(Protocol):
    """Does disk work in order; a simulation has its own."""

    def start(self) -> None:
        """Begin to work."""
        ...

    def do(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Do a piece of work after those before it; see `DiskThread.do`."""
        ...

    async def stop(self) -> None:
        """Finish what waits; does nothing where it does not run."""
        ...


class DiskThread:
    """One thread with its queue; used from one event loop."""

    def __init__(self, name: str, *, waiting_max: int = WAITING_MAX) -> None:
        """Let at most `waiting_max` pieces of work wait."""
        self._name = name
        self._waiting_max = waiting_max
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None
        self.waiting = 0

    def start(self) -> None:
        """Begin to work."""
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        # A daemon: a disk that hangs must not keep the process from ending.
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def do(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Do a piece of work after those before it.

        Cancelling the future takes nothing back. Besides the work's own errors it raises:
            StoreUnavailableError: the disk refused, or too much work waits for it.
            ShuttingDownError: the thread does not run.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._loop is None:
            future.set_exception(ShuttingDownError("The document store is not open."))
        elif self.waiting >= self._waiting_max:
            future.set_exception(
                StoreUnavailableError(f"The disk is too slow: {self.waiting} documents wait.")
            )
        else:
            self.waiting += 1
            self._queue.put(lambda: self._do(work, future))
        return future

    async def stop(self) -> None:
        """Finish what waits; does nothing where it does not run."""
        loop, self._loop = self._loop, None
        if loop is not None:
            self._queue.put(None)
        if self._ended is not None:
            # Shielded: a caller that is cancelled must not end it for another.
            await asyncio.shield(self._ended)

    def _run(self) -> None:
        ended = self._ended
        while (work := self._queue.get()) is not None:
            work()
        if ended is not None:
            self._tell(ended.get_loop(), lambda: _resolve(ended, None))

    def _do(self, work: Callable[[], T], future: asyncio.Future[T]) -> None:
        try:
            value = work()
        except BaseException as error:  # noqa: BLE001 - whoever awaits the future gets it
            known = unavailable(error) if isinstance(error, OSError) else error
            self._tell(future.get_loop(), lambda: self._fail(future, known))
        else:
            self._tell(future.get_loop(), lambda: self._succeed(future, value))

    def _succeed(self, future: asyncio.Future[T], value: T) -> None:
        self.waiting -= 1
        _resolve(future, value)

    def _fail(self, future: asyncio.Future[T], error: BaseException) -> None:
        self.waiting -= 1
        if future.done():
            return
        if isinstance(error, StopIteration):  # a future cannot hold it
            error = LlmbotError("StopIteration")
        future.set_exception(error)

    @staticmethod
    def _tell(loop: asyncio.AbstractEventLoop, call: Callable[[], Any]) -> None:
        # The loop was closed before us: nobody is left to be told.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(call)


def _resolve(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)
