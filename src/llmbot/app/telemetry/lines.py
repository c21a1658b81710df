"""How a log line looks: one event a line, for `grep` in the file, for people on the console."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from structlog.dev import ConsoleRenderer
from structlog.processors import LogfmtRenderer
from structlog.typing import EventDict

from llmbot.kernel.redact import Redactor

_FACTS = LogfmtRenderer(bool_as_flag=False)
_PLACES_MAX = 6
_UNPRINTABLE = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160))}
_UNPRINTABLE |= {
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
    # Line and paragraph separator, and what turns the direction of writing: a line must look like
    # what it is, whoever chose the words in it.
    **{code: f"\\u{code:04x}" for code in (0x2028, 0x2029, *range(0x202A, 0x202F))},
    **{code: f"\\u{code:04x}" for code in range(0x2066, 0x206A)},
}


@cache
def action_name(kind: str) -> str:
    """The name of an event's class as an action: `BreakerChanged` is `breaker_changed`."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in kind).lstrip("_")


def for_file(entry: EventDict, redactor: Redactor) -> str:
    """`2026-11-23T17:56:01.123Z WARNING breaker_changed Circuit breaker … name=gemini …`."""
    level, action, text = str(entry["level"]), entry["action"], entry["event"]
    facts = _FACTS(None, "", entry["facts"]) if entry["facts"] else ""
    line = f"{_stamp(entry['at_s'])} {level.upper():<7} {action} {text} {facts}".rstrip()
    return one_line(redactor.scrub(line))


def for_console(entry: EventDict, redactor: Redactor) -> str:
    """`17:56:01 warning Circuit breaker …`: no facts, since the text names what people need."""
    text = one_line(redactor.scrub(str(entry["event"])))
    return f"{_clock(entry['at_s'])} {entry['level']:<7} {text}"


class ColouredConsole:
    """`for_console` with colours, for a terminal."""

    def __init__(self) -> None:
        """Take structlog's own styles."""
        self._render = ConsoleRenderer(colors=True, force_colors=True, pad_event_to=0)

    def __call__(self, entry: EventDict, redactor: Redactor) -> str:
        """See `for_console`."""
        text = one_line(redactor.scrub(str(entry["event"])))
        shown = {"timestamp": _clock(entry["at_s"]), "level": entry["level"], "event": text}
        return str(self._render(None, "", shown))


def one_line(text: str) -> str:
    """The text with everything that would break its line, or move the cursor, spelled out."""
    return text.translate(_UNPRINTABLE)


def from_record(record: logging.LogRecord) -> EventDict:
    """What a library logged, as an entry; of an exception the kind and places, no values."""
    facts: dict[str, object] = {"logger": record.name}
    if record.exc_info and record.exc_info[1] is not None:
        facts["exception"] = places(record.exc_info[1])
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 - a library's broken log call must not break the log
        text = str(record.msg)
    return {
        "at_s": record.created,
        "level": record.levelname.lower(),
        "action": "library",
        "event": text,
        "facts": facts,
    }


def places(error: BaseException) -> str:
    """The kind of an exception and where it passed, innermost first; no message: it may quote."""
    found: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        found.append(f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " < ".join([type(error).__name__, *reversed(found[-_PLACES_MAX:])])


def _stamp(at_s: float) -> str:
    moment = datetime.fromtimestamp(at_s, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _clock(at_s: float) -> str:
    return datetime.fromtimestamp(at_s).astimezone().strftime("%H:%M:%S")
