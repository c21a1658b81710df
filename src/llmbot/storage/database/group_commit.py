"""One transaction for all units that wait: the price of a commit is shared, its promise is not.

Every unit of a batch has a savepoint, so that one that raises is undone alone. If the transaction
itself is lost, every unit of the batch is told so and the connection is opened anew: after a
failed fsync the kernel may have dropped the pages and would report success the next time, so that
descriptor is never asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import DefectError, LlmbotError, StoreUnavailableError
from llmbot.storage.database.contract import Session
from llmbot.storage.database.worker import Unit

REOPEN_WAIT_S_MIN = 0.1
REOPEN_WAIT_S_MAX = 5.0
"""Units submitted within this time after a connection could not be opened fail at once."""


class Connection(Session, Protocol):
    """A session with its transaction, used by one thread."""

    statement_error: LlmbotError | None
    """The last statement's error since it was set to None; says that the unit must be undone."""

    @property
    def usable(self) -> bool:
        """Whether the transaction and the connection are still what they seem."""
        ...

    @property
    def lost(self) -> bool:
        """Whether the connection is gone for good."""
        ...

    def begin(self) -> None:
        """Start a transaction."""
        ...

    def savepoint(self) -> None:
        """Mark where a unit starts."""
        ...

    def release(self) -> None:
        """Keep the unit."""
        ...

    def undo(self) -> None:
        """Roll back to where the unit started."""
        ...

    def commit(self) -> None:
        """Make the transaction durable."""
        ...

    def rollback(self) -> None:
        """Undo the transaction."""
        ...

    def close(self) -> None:
        """Let go; never raises."""
        ...


class Link:
    """A connection that is opened when it is needed, at a pace that spares a broken server."""

    def __init__(self, connect: Callable[[], Connection], clock: Clock) -> None:
        """Open with `connect`."""
        self._connect = connect
        self._clock = clock
        self._connection: Connection | None = None
        self._wait_s = 0.0
        self._not_before = 0.0
        self._reason = ""

    def get(self) -> Connection:
        """The connection, opened now if there is none.

        Raises:
            StoreUnavailableError: it could not be opened, now or a moment ago.
        """
        if self._connection is not None:
            return self._connection
        left_s = self._not_before - self._clock.monotonic()
        if left_s > 0:
            raise StoreUnavailableError(self._reason, retry_after_s=left_s)
        try:
            self._connection = self._connect()
        except LlmbotError as error:
            self._wait_s = min(max(self._wait_s * 2, REOPEN_WAIT_S_MIN), REOPEN_WAIT_S_MAX)
            self._not_before = self._clock.monotonic() + self._wait_s
            self._reason = str(error)
            raise
        self._wait_s = 0.0
        return self._connection

    def begin(self) -> Connection:
        """The connection, in a fresh transaction.

        A connection may have been lost while nothing used it (the server was restarted); since
        nothing has run yet, another is tried at once.

        Raises:
            StoreUnavailableError: no transaction could be started.
        """
        connection = self.get()
        try:
            connection.begin()
        except StoreUnavailableError:
            if not connection.lost:
                raise
            self.drop()
            connection = self.get()
            connection.begin()
        return connection

    def drop(self) -> None:
        """Close the connection; the next `get` opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class GroupCommit:
    """Runs batches of units, each batch in one durable transaction."""

    def __init__(self, link: Link, clock: Clock) -> None:
        """Write through `link`."""
        self._link = link
        self._clock = clock
        self.commits = 0
        self.units = 0
        self.failures = 0
        self.last_commit_ms = 0
        self.last_error = ""
        self._began: float | None = None

    @property
    def busy_s(self) -> float:
        """How long the batch under way has been; 0.0 where there is none. From any thread."""
        began = self._began
        return 0.0 if began is None else self._clock.monotonic() - began

    def process(self, batch: Sequence[Unit]) -> None:
        """Run the units and commit; notes value or error in each."""
        self._began = self._clock.monotonic()
        try:
            self._process(batch, self._began)
        finally:
            self._began = None

    def _process(self, batch: Sequence[Unit], started: float) -> None:
        try:
            connection = self._link.begin()
            if len(batch) == 1:
                done = self._run_alone(connection, batch[0])
            else:
                done = self._run_side_by_side(connection, batch)
        except LlmbotError as error:
            self._lose(batch, error)
            return
        if done:
            self.last_error = ""
            self.commits += 1
            self.units += done
            self.last_commit_ms = round((self._clock.monotonic() - started) * 1000)

    def _run_alone(self, connection: Connection, unit: Unit) -> int:
        # No other unit to spare: the transaction is the savepoint.
        run_unit(connection, unit)
        if unit.error is not None:
            _keep(connection, unit.error)
            connection.rollback()
            return 0
        connection.commit()
        return 1

    def _run_side_by_side(self, connection: Connection, batch: Sequence[Unit]) -> int:
        done = 0
        for unit in batch:
            connection.savepoint()
            run_unit(connection, unit)
            if unit.error is None:
                connection.release()
                done += 1
            else:
                _keep(connection, unit.error)
                connection.undo()
        connection.commit()
        return done

    def _lose(self, batch: Sequence[Unit], error: LlmbotError) -> None:
        self.failures += 1
        self.last_error = str(error)
        self._link.drop()
        for unit in batch:
            # Those that failed by themselves keep their own error; an error object is never shared,
            # since every raise adds to its traceback.
            if unit.error is None:
                unit.error = _like(error)


def run_unit(connection: Connection, unit: Unit) -> None:
    """Run one unit's work and note its value or error."""
    connection.statement_error = None
    try:
        unit.value = unit.work(connection)
    except StopIteration as error:
        # A future cannot hold it.
        unit.error = DefectError("A unit of work raised StopIteration.")
        unit.error.__cause__ = error
    except Exception as error:  # noqa: BLE001 - the unit's awaiter gets it, whatever it is
        unit.error = error
    else:
        unit.error = connection.statement_error


def _keep(connection: Connection, error: BaseException) -> None:
    """Go on after a unit's error, unless it took the transaction or the connection with it.

    SQLite rolls the whole transaction back by itself after some errors (a full disk, an I/O error,
    an interrupt): the units before then are undone as well, and must not be told they are safe.
    """
    if not connection.usable:
        raise _like(connection.statement_error or error)


def _like(error: BaseException) -> LlmbotError:
    if isinstance(error, StoreUnavailableError):
        return StoreUnavailableError(str(error), retry_after_s=error.retry_after_s)
    # Only our own errors are known to hold no user text.
    said = str(error) if isinstance(error, LlmbotError) else type(error).__name__
    return StoreUnavailableError(f"The transaction was lost: {said}")
