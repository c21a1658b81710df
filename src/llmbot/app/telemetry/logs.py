"""The log: every event on the bus and every word of a library, in a file and on the console.

Who logs pays for a place in a bounded queue and nothing else; a thread of its own renders, scrubs
and writes. When the queue is full the line is dropped and counted, and the log says how many are
missing where they are missing. The disk may fail: the bot goes on, the console still speaks, and
the file is tried again until it can be written.
"""

from __future__ import annotations

import atexit
import logging
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from llmbot.app.telemetry.lines import (
    ColouredConsole,
    action_name,
    for_console,
    for_file,
    from_record,
)
from llmbot.app.telemetry.log_file import LogFile
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import DataDirectoryError
from llmbot.kernel.events import EventBus, Level, Published
from llmbot.kernel.redact import Redactor
from llmbot.storage.files import DISK_TROUBLE

LOG_NAME = "application.log"
QUEUE_MAX = 10_000
"""Lines that may wait; about 5 MB, and a second of writing."""

STOP_DEADLINE_S = 5.0
GATHER_S = 0.02
"""How long the writer lets lines gather: waking it costs who logs more than the line itself."""
LOOK_S = 2.0
"""How often the file is looked at while no line comes."""

_RANK = {Level.DEBUG: 10, Level.INFO: 20, Level.WARNING: 30, Level.ERROR: 40}


@dataclass(frozen=True, slots=True)
class TelemetryFacts:
    """What became of the lines."""

    written: int
    dropped: int
    failed: int
    waiting: int
    last_error: str


class Telemetry:
    """The log of one process."""

    def __init__(
        self,
        log_dir: Path,
        clock: Clock,
        redactor: Redactor,
        *,
        level: str = "info",
        file_bytes_max: int = 10 * 1024 * 1024,
        files_max: int = 5,
        console: TextIO | None = sys.stderr,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        """Take what to write and where; nothing is opened yet. `console` None stays silent."""
        self._path = log_dir / LOG_NAME
        self._clock = clock
        self._redactor = redactor
        self._rank = _RANK[Level(level)]
        self._limits = (file_bytes_max, files_max)
        self._console = console
        coloured = console is not None and console.isatty()
        self._for_console: Callable[[EventDict, Redactor], str] = (
            ColouredConsole() if coloured else for_console
        )
        self._queue: queue.SimpleQueue[EventDict | None] = queue.SimpleQueue()
        self._queue_max = queue_max
        self._stopping = threading.Event()
        self._written = self._failed = self._dropped = self._dropped_told = 0
        self._unwritten = 0
        self._last_error = self._out_of_reach = ""
        self._file: LogFile | None = None
        self._thread: threading.Thread | None = None
        self._records = _Records(self._offer)
        self._log: FilteringBoundLogger = structlog.wrap_logger(
            None,
            processors=[self._enqueue],
            wrapper_class=structlog.make_filtering_bound_logger(self._rank),
        ).bind()

    def start(self) -> None:
        """Open the file and begin to write; route the logs of libraries here.

        Where the disk is full or fails, each line tries again.

        Raises:
            DataDirectoryError: the directory of the logs cannot be written.
        """
        self._file = LogFile(self._path, *self._limits, self._write_failed)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.open("a").close()
        except OSError as error:
            if error.errno not in DISK_TROUBLE:
                raise DataDirectoryError(
                    f"The log directory {self._path.parent} cannot be written "
                    f"({error.strerror}); make it writable or set LOG_DIR."
                ) from None
        self._thread = threading.Thread(target=self._write, name="log writer", daemon=True)
        self._thread.start()
        root = logging.getLogger()
        root.addHandler(self._records)
        # Libraries say at info what the bus says better, and their debug lines hold payloads.
        root.setLevel(max(self._rank, logging.WARNING))
        logging.captureWarnings(capture=True)
        atexit.register(self.stop)

    def attach(self, bus: EventBus) -> Callable[[], None]:
        """Write every event of the bus; returns what ends it."""
        return bus.subscribe(self.note)

    def note(self, stamped: Published) -> None:
        """Write one event."""
        event = stamped.event
        if _RANK[event.level] >= self._rank:
            say: Callable[..., object] = getattr(self._log, event.level.value)
            say(
                event.describe(),
                at_s=stamped.wall_s,
                level=event.level.value,
                action=action_name(stamped.name),
                facts=stamped.facts(),
            )

    def stop(self) -> None:
        """Write what waits, within a deadline, and close. Safe to call twice."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        atexit.unregister(self.stop)
        logging.getLogger().removeHandler(self._records)
        self._stopping.set()
        self._queue.put(None)
        thread.join(STOP_DEADLINE_S)  # a disk that hangs: it is a daemon and ends with the process
        if self._file is not None and not thread.is_alive():
            self._file.close()

    def facts(self) -> TelemetryFacts:
        """How many lines were written, dropped for want of room, or failed on the disk."""
        return TelemetryFacts(
            self._written, self._dropped, self._failed, self._queue.qsize(), self._last_error
        )

    def trouble(self) -> str:
        """Why lines do not reach the file now; empty while they do."""
        if not self._out_of_reach:
            return ""
        missing = f"; {self._unwritten} line(s) are missing" if self._unwritten else ""
        return f"{self._path.name} cannot be written: {self._out_of_reach}{missing}"

    # ── on the caller's side ────────────────────────────────────────────────────────────────────

    def _enqueue(self, _: WrappedLogger, __: str, entry: EventDict) -> EventDict:
        self._offer(entry)
        raise structlog.DropEvent

    def _offer(self, entry: EventDict) -> None:
        if self._queue.qsize() >= self._queue_max:
            self._dropped += 1
        else:
            self._queue.put(entry)

    # ── on the writer's thread ──────────────────────────────────────────────────────────────────

    def _write(self) -> None:
        while (entry := self._next()) is not None:
            if self._queue.empty():
                self._stopping.wait(GATHER_S)
            self._write_one(entry)
            missing = self._dropped - self._dropped_told
            if missing:
                self._dropped_told += missing
                self._write_one(self._dropped_entry(missing))

    def _next(self) -> EventDict | None:
        """The next line; where none comes, the file is looked at all the same."""
        while True:
            try:
                return self._queue.get(timeout=LOOK_S)
            except queue.Empty:
                self._look()

    def _look(self) -> None:
        """See whether the file can be written, and as soon as it can: what is missing in it."""
        self._out_of_reach = "" if self._file is None else self._file.trouble()
        if self._out_of_reach or not self._unwritten:
            return
        entry, count, self._unwritten = self._unwritten_entry(), self._unwritten, 0
        self._write_one(entry)
        if self._unwritten:
            self._unwritten = count  # it can be opened, but takes nothing

    def _write_one(self, entry: EventDict) -> None:
        if self._unwritten:
            self._look()
        failed_before = self._failed
        try:
            line = for_file(entry, self._redactor)
            if self._file is not None:
                self._file.emit(_record_of(line))
            if self._console is not None:
                self._console.write(self._for_console(entry, self._redactor) + "\n")
                self._console.flush()
        except Exception as error:  # noqa: BLE001 - one bad line must not end the log
            self._failed += 1
            self._last_error = f"{type(error).__name__} while writing a line"
        self._written += self._failed == failed_before

    def _write_failed(self, why: str) -> None:
        """The disk is full or gone."""
        self._failed += 1
        self._unwritten += 1
        self._last_error = self._out_of_reach = why

    def _unwritten_entry(self) -> EventDict:
        return {
            "at_s": self._clock.wall(),
            "level": "warning",
            "action": "log_unwritten",
            "event": f"{self._unwritten} log line(s) are missing here: the file took none",
            "facts": {"unwritten": self._unwritten, "because": self._last_error},
        }

    def _dropped_entry(self, missing: int) -> EventDict:
        return {
            "at_s": self._clock.wall(),
            "level": "warning",
            "action": "log_dropped",
            "event": f"{missing} log line(s) dropped here: more came than could be written",
            "facts": {"dropped": missing, "dropped_total": self._dropped},
        }


class _Records(logging.Handler):
    """Takes the records of libraries; logging offers inheritance as the only way in."""

    def __init__(self, offer: Callable[[EventDict], None]) -> None:
        super().__init__()
        self._offer = offer

    def emit(self, record: logging.LogRecord) -> None:
        """Rendered here and not on the thread: the record's arguments may change meanwhile."""
        self._offer(from_record(record))


def tail(path: Path, bytes_max: int) -> str:
    """The end of a log; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - bytes_max))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _record_of(line: str) -> logging.LogRecord:
    no_args: tuple[Any, ...] = ()
    return logging.LogRecord("llmbot", logging.INFO, "", 0, line, no_args, None)
