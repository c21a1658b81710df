"""The log: its form, its limits, and what never stands in it."""

from __future__ import annotations

import io
import logging
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.tiny_disk import remount, tiny_disk
from tests.support.waiting import PATIENCE_S

from llmbot.app.telemetry.lines import ColouredConsole, action_name, for_console, from_record
from llmbot.app.telemetry.logs import Telemetry
from llmbot.kernel.clock import ManualClock, SystemClock
from llmbot.kernel.errors import DataDirectoryError
from llmbot.kernel.events import BreakerChanged, EventBus, JobMoved, ModelFailed, Noted
from llmbot.kernel.redact import Redactor

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) +[a-z_]+ \S")


class Log:
    """A running log on a manual clock and what it wrote."""

    def __init__(self, directory: Path, **choices: object) -> None:
        self.directory = directory
        self.clock = ManualClock()
        self.bus = EventBus(self.clock)
        self.screen = io.StringIO()
        self.telemetry = Telemetry(
            directory,
            self.clock,
            Redactor(("hunter22",)),
            console=self.screen,
            **choices,  # type: ignore[arg-type] # each test its own
        )
        self.telemetry.attach(self.bus)

    def lines(self) -> list[str]:
        """Stop, and read the file."""
        self.telemetry.stop()
        return (self.directory / "application.log").read_text(encoding="utf-8").splitlines()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    """A started log; stopped at the end."""
    made = Log(tmp_path / "logs")
    made.telemetry.start()
    yield made
    made.telemetry.stop()


def test_one_event_a_line(log: Log) -> None:
    """Each event is one line: time, level, action, its own words, its facts."""
    log.bus.publish(BreakerChanged("gemini", "closed", "open", "5 failures"))
    log.bus.publish(Noted("Topic", "two\nlines \x1b[31m\u2028 and \u202e more"))
    first, second = log.lines()
    assert LINE.match(first)
    assert LINE.match(second)
    assert "Circuit breaker gemini: closed → open (5 failures)" in first
    assert first.endswith('name=gemini before=closed after=open reason="5 failures"')
    assert "two\\nlines \\x1b[31m\\u2028 and \\u202e more" in second


def test_secrets_are_scrubbed_everywhere(log: Log) -> None:
    """A secret in an event or in a library's words reaches neither file nor console."""
    key = "AIza" + "x" * 35
    log.bus.publish(ModelFailed(1, "gemini", "m", "c", 1, 5, f"refused {key} of hunter22"))
    logging.getLogger("some.library").error("Authorization: Bot %s", "hunter22")
    shown = "\n".join([*log.lines(), log.screen.getvalue()])
    assert "[secret]" in shown
    assert "hunter22" not in shown
    assert key not in shown


def test_levels(log: Log) -> None:
    """What is below the level is not written."""
    log.bus.publish(JobMoved(1, "waiting", "leased", "debug"))
    log.bus.publish(Noted("Topic", "info"))
    (only,) = log.lines()
    assert "INFO" in only


def test_libraries_are_heard_without_values(log: Log) -> None:
    """A library's warning is written with the place of its exception, never with its words."""
    try:
        raise ValueError("a user's words")  # noqa: TRY301 - the exception is the subject
    except ValueError:
        logging.getLogger("discord.client").exception("Ignoring exception in %s", "on_message")
    logging.getLogger("discord.http").info("payload")
    (first,) = log.lines()
    assert "ERROR" in first
    assert "Ignoring exception in on_message" in first
    assert "ValueError < test_telemetry.py:" in first
    assert "words" not in first


def test_a_broken_log_call_is_written_as_it_is() -> None:
    """Arguments that do not fit their words break nothing."""
    record = logging.LogRecord("lib", logging.WARNING, "x.py", 1, "%d apples", ("no number",), None)
    assert from_record(record)["event"] == "%d apples"


def test_the_console_is_short(log: Log) -> None:
    """The console shows time, level and words; the facts stay in the file."""
    log.bus.publish(BreakerChanged("gemini", "closed", "open", "5 failures"))
    log.lines()
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d warning Circuit breaker gemini: closed → open \(5 failures\)\n",
        log.screen.getvalue(),
    )


def test_colours_hold_the_same_words() -> None:
    """On a terminal the same words come with colours, and none that a user sent."""
    entry = {"at_s": 1.0, "level": "info", "event": "who\x1b[2J", "action": "noted", "facts": {}}
    coloured = ColouredConsole()(dict(entry), Redactor())
    assert "\x1b[" in coloured
    assert "\\x1b[2J" in coloured
    assert "\x1b[" not in for_console(dict(entry), Redactor())


def test_the_file_is_rotated_and_bounded(tmp_path: Path) -> None:
    """The log never holds more than its files and its size allow."""
    log = Log(tmp_path, file_bytes_max=10_000, files_max=2)
    log.telemetry.start()
    for number in range(400):
        log.bus.publish(Noted("Filling", f"{number} " + "x" * 80))
    log.telemetry.stop()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["application.log", "application.log.1", "application.log.2"]
    assert all(path.stat().st_size <= 10_000 for path in tmp_path.iterdir())
    assert "399" in log.lines()[-1]


def test_dropped_lines_are_counted_and_said(tmp_path: Path) -> None:
    """A full queue drops lines rather than wait; how many is counted and stands in the log."""
    log = Log(tmp_path, queue_max=10)
    for number in range(25):  # before the start nobody takes them
        log.bus.publish(Noted("Early", str(number)))
    log.telemetry.start()
    lines = log.lines()
    assert log.telemetry.facts().dropped == 15
    assert "15 log line(s) dropped" in lines[1]
    assert len(lines) == 11


def test_all_is_written_at_the_stop(log: Log) -> None:
    """What was said before the stop is in the file after it, however fast it came."""
    # A stop waits five seconds at most: so few that a busy machine writes them, too.
    for number in range(500):
        log.bus.publish(Noted("Fast", str(number)))
    assert len(log.lines()) == 500
    assert log.telemetry.facts().written == 500


def test_a_failing_disk_does_not_end_the_log(tmp_path: Path) -> None:
    """A line that cannot be written is counted, and the lines after it are written."""

    class BrokenScreen(io.StringIO):
        broken = True

        def write(self, text: str) -> int:
            if self.broken:
                self.broken = False
                raise OSError(28, "No space left on device")
            return super().write(text)

    log = Log(tmp_path)
    log.telemetry = Telemetry(tmp_path, log.clock, Redactor(), console=BrokenScreen())
    log.telemetry.attach(log.bus)
    log.telemetry.start()
    log.bus.publish(Noted("First", "lost on the screen"))
    log.bus.publish(Noted("Second", "seen"))
    assert len(log.lines()) == 2
    assert log.telemetry.facts().failed == 1
    assert "OSError" in log.telemetry.facts().last_error


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """A log directory that cannot be written stops the start with the name of its setting."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DataDirectoryError, match="LOG_DIR"):
        Log(tmp_path / "file" / "logs").telemetry.start()


def until_shown(log: Log, words: str) -> None:
    """Wait until a line was written or tried: the screen is told after the file."""
    deadline = SystemClock().monotonic() + PATIENCE_S
    while words not in log.screen.getvalue():
        assert SystemClock().monotonic() < deadline, words
        threading.Event().wait(0.01)


def test_a_removed_file_is_written_anew(log: Log) -> None:
    """Whoever moves the log or removes its directory finds the next lines in a new one."""
    log.bus.publish(Noted("One", "before"))
    until_shown(log, "before")
    (log.directory / "application.log").rename(log.directory / "mine.log")
    log.bus.publish(Noted("Two", "after the move"))
    until_shown(log, "after the move")
    shutil.rmtree(log.directory)
    log.bus.publish(Noted("Three", "after the removal"))
    assert ["after the removal" in line for line in log.lines()] == [True]


def test_a_directory_that_is_lost_is_told_and_mended(log: Log) -> None:
    """While no file can be made, the trouble is named; afterwards the log says what is missing."""
    log.bus.publish(Noted("One", "before"))
    until_shown(log, "before")
    assert log.telemetry.trouble() == ""
    shutil.rmtree(log.directory)
    log.directory.write_text("in the way", encoding="utf-8")
    for number in range(3):
        log.bus.publish(Noted("Two", f"lost {number}"))
    until_shown(log, "lost 2")
    assert "cannot be written" in log.telemetry.trouble()
    assert "3 line(s) are missing" in log.telemetry.trouble()
    log.directory.unlink()
    until_shown(log, "3 log line(s) are missing")
    assert log.telemetry.trouble() == ""
    assert [line.split()[2] for line in log.lines()] == ["log_unwritten"]


def test_the_stop_leaves_nothing_behind(log: Log) -> None:
    """After the stop no thread and no handler is left, and a second stop does nothing."""
    before = list(logging.getLogger().handlers)
    log.telemetry.stop()
    log.telemetry.stop()
    assert len(logging.getLogger().handlers) == len(before) - 1
    assert not [t for t in threading.enumerate() if t.name == "log writer"]


def test_action_names() -> None:
    """The action of an event is its class name in small letters."""
    assert action_name("BreakerChanged") == "breaker_changed"


def test_a_read_only_disk_stops_no_start(tmp_path: Path) -> None:
    """Lines are missed and counted; they are written again as soon as the disk takes them."""
    shown = threading.Event()

    class Screen(io.StringIO):
        """Says when a line was shown, which is after the file was tried."""

        def flush(self) -> None:
            shown.set()

    with tiny_disk(tmp_path / "tiny", "256k") as disk:
        (disk / "logs").mkdir()
        remount(disk, "ro")
        log = Log(disk / "logs")
        log.telemetry = Telemetry(disk / "logs", log.clock, Redactor(), console=Screen())
        log.telemetry.attach(log.bus)
        log.telemetry.start()
        log.bus.publish(Noted("First", "missed"))
        assert shown.wait(10)
        assert log.telemetry.facts().failed == 1
        remount(disk, "rw")
        log.bus.publish(Noted("Second", "kept"))
        missing, kept = log.lines()
        assert "1 log line(s) are missing here" in missing
        assert "kept" in kept
