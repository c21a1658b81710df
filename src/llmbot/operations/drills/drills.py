"""Drills: catalogued faults to practise on, what each must lead to, and how a try is scored.

A drill names a fault, what the loop must call it, and which runbook belongs to it. Faults named
`bot.…` are made by the bot itself, `user.…` and `process.…` by who runs the drill
(`console/drills/runner.py`), all others by the simulators. Who runs it talks meanwhile as users do
and hands in what was seen; the verdict is made here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf

__all__ = [
    "DRILLS",
    "MEND_MAX_S",
    "NOTICE_MAX_S",
    "Drill",
    "Seen",
    "Verdict",
    "as_table",
    "judge",
    "summary",
]

NOTICE_MAX_S = 5.0
"""From the first moment at which the fault touched the bot."""

MEND_MAX_S = 30.0
"""From the end of the fault: the outside allows no earlier."""


@dataclass(frozen=True, slots=True)
class Drill:
    """One fault to practise on."""

    name: str
    row: int
    fault: str
    causes: frozenset[str]
    """Any of these is the right name for it."""
    runbooks: frozenset[str]
    for_s: float = 8.0
    params: Mapping[str, float | str] = field(default_factory=dict)
    times: int | None = None
    """Strikes after which the fault is spent; None lasts for `for_s`."""
    also: str = ""
    """A second fault that strikes once, and gives the first its opportunity."""
    beside: tuple[str, ...] = ()
    """Faults that last as long as the first."""
    then: tuple[str, ...] = ()
    """Faults that follow when the first is over: only then can the first be seen."""
    words: str = ""
    """What people say besides; the simulated models do what its marks tell them."""
    shows_after_s: float = 0.0
    """How long after it struck the fault shows at the earliest: a slow answer is known as such
    when its time is over, and a process that was killed notices nothing before it is back."""
    may_miss: int = 0
    """Messages that may stay without an answer: given up, for an operator to see and retry."""
    mend_max_s: float = MEND_MAX_S


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one try; seconds from the injection, None where it never came."""

    struck_s: float | None
    noticed_s: float | None
    ended_s: float
    mended_s: float | None
    causes: frozenset[str]
    """Those that were diagnosed in this try and stand in its incident."""
    runbooks: frozenset[str]
    said: int
    answered: int
    doubled: int
    lost: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The score of one try."""

    drill: str
    noticed_after_s: float | None
    mended_after_s: float | None
    right_cause: bool
    right_runbook: bool
    lost: int
    """Without an answer, beyond those that may be given up."""
    doubled: int
    mend_max_s: float = MEND_MAX_S

    @property
    def nothing_lost(self) -> bool:
        """Whether every message got exactly one answer."""
        return self.lost == 0 and self.doubled == 0

    @property
    def passed(self) -> bool:
        """Whether everything held."""
        return (
            self.noticed_after_s is not None
            and self.noticed_after_s <= NOTICE_MAX_S
            and self.mended_after_s is not None
            and self.mended_after_s <= self.mend_max_s
            and self.right_cause
            and self.right_runbook
            and self.nothing_lost
        )


def judge(drill: Drill, seen: Seen) -> Verdict:
    """Score one try."""
    noticed = None
    if seen.noticed_s is not None:
        noticed = max(0.0, seen.noticed_s - (seen.struck_s or 0.0) - drill.shows_after_s)
    mended = None if seen.mended_s is None else max(0.0, seen.mended_s - seen.ended_s)
    return Verdict(
        drill=drill.name,
        noticed_after_s=noticed,
        mended_after_s=mended,
        right_cause=bool(drill.causes & seen.causes),
        right_runbook=bool(drill.runbooks & seen.runbooks),
        lost=max(0, seen.lost - drill.may_miss),
        doubled=seen.doubled,
        mend_max_s=drill.mend_max_s,
    )


def summary(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Shares of all tries, 0 to 1, and the slowest times in seconds."""
    count = max(1, len(verdicts))
    return {
        "tries": float(len(verdicts)),
        "passed": sum(v.passed for v in verdicts) / count,
        "noticed": sum(v.noticed_after_s is not None for v in verdicts) / count,
        "right_cause": sum(v.right_cause for v in verdicts) / count,
        "right_runbook": sum(v.right_runbook for v in verdicts) / count,
        "nothing_lost": sum(v.nothing_lost for v in verdicts) / count,
        "slowest_notice_s": max((v.noticed_after_s or 0.0 for v in verdicts), default=0.0),
        "slowest_mend_s": max((v.mended_after_s or 0.0 for v in verdicts), default=0.0),
    }


def as_table(verdicts: Sequence[Verdict], at_s: float) -> str:
    """The scores as a section in Markdown; `at_s` is in seconds since the Unix epoch."""
    by_drill: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_drill.setdefault(verdict.drill, []).append(verdict)
    total = summary(verdicts)
    day = datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    words = (
        f"{len(verdicts)} tries, {total['passed']:.1%} passed; right cause "
        f"{total['right_cause']:.1%}, right runbook {total['right_runbook']:.1%}, nothing lost or "
        f"doubled {total['nothing_lost']:.1%}."
    )
    lines = [
        "",
        f"### Drills, {day}",
        "",
        words,
        "",
        "| drill | row | tries | passed | noticed after, s | mended after, s |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, tries in by_drill.items():
        noticed = max(v.noticed_after_s if v.noticed_after_s is not None else inf for v in tries)
        mended = max(v.mended_after_s if v.mended_after_s is not None else inf for v in tries)
        passed = sum(v.passed for v in tries)
        lines.append(
            f"| {name} | {DRILLS[name].row} | {len(tries)} | {passed} | {noticed:.1f} "
            f"| {mended:.1f} |"
        )
    return "\n".join(lines) + "\n"


def _of(*names: str) -> frozenset[str]:
    return frozenset(names)


_BROKEN = _of("model-broken-off")
_ASKED = _of("api-interaction")
_AWAY = _of("gateway-away", "gateway-dropped")
_RECOVERY = _of("discord-recovery")
_REST, _REST_BOOK = _of("discord-rest", "discord-breaker"), _of("discord-rest", "circuit-breaker")
_WORDLESS = _of("model-wordless")
_QUOTA = _of("model-quota")

_ALL = (
    Drill("quota-minute", 1, "gemini.quota_minute", _of("model-quota-minute"), _QUOTA,
          params={"retry_s": 5, "limit": 1000}),
    Drill("quota-day", 2, "gemini.quota_day", _of("model-quota-day"), _QUOTA,
          params={"limit": 100_000}),
    Drill("model-503", 3, "gemini.error", _of("model-unavailable"), _of("gemini-recovery")),
    Drill("model-500", 3, "gemini.error", _of("model-unavailable"), _of("gemini-recovery"),
          params={"status": 500}),
    Drill("model-cut", 4, "gemini.cut", _BROKEN, _ASKED),
    Drill("model-no-finish", 4, "gemini.no_finish", _BROKEN, _ASKED),
    Drill("model-garbage", 4, "gemini.garbage", _BROKEN, _ASKED),
    Drill("model-hang", 4, "gemini.hang", _BROKEN, _ASKED, for_s=45.0),
    Drill("model-stall", 4, "gemini.stall", _BROKEN, _ASKED, for_s=40.0),
    Drill("model-key", 5, "gemini.bad_key", _of("model-credentials"), _of("model-credentials")),
    Drill("model-gone", 5, "gemini.no_model", _of("model-missing"), _of("model-credentials")),
    Drill("model-blocked", 6, "gemini.blocked", _WORDLESS, _ASKED),
    Drill("model-empty", 6, "gemini.empty", _WORDLESS, _ASKED),
    Drill("gateway-drop", 7, "gateway.drop", _AWAY, _RECOVERY, times=1),
    Drill("gateway-reconnect", 7, "gateway.reconnect", _AWAY, _RECOVERY, times=1),
    Drill("gateway-session", 7, "gateway.invalid_session", _AWAY, _RECOVERY,
          for_s=4.0, also="gateway.drop"),
    Drill("rest-401", 8, "rest.unauthorized", _of("discord-refuses"),
          _of("discord-credentials"), for_s=6.0),
    Drill("rest-429", 9, "rest.rate_limit", _REST, _REST_BOOK, for_s=5.0,
          params={"retry_s": 1}),
    Drill("rest-503", 9, "rest.error", _REST, _REST_BOOK),
    Drill("rest-accepted-502", 9, "rest.accepted_error", _REST, _REST_BOOK),
    Drill("rest-reset", 9, "rest.reset", _REST, _REST_BOOK),
    Drill("duplicates", 11, "gateway.duplicate", _of("duplicates"), _of("duplicates")),
    Drill("gateway-garbage", 7, "gateway.garbage", _AWAY | _REST, _RECOVERY | _REST_BOOK,
          for_s=5.0),
    Drill("channel-denied", 10, "user.denied", _of("channel-set-aside"),
          _of("channel-permission")),
    Drill("kill", 12, "process.kill", _of("unclean-end"), _of("service-start"),
          for_s=12.0, shows_after_s=5.0),
    Drill("gap", 13, "gateway.lose", _AWAY | _of("messages-missed"),
          _RECOVERY | _of("backfill"), for_s=4.0, then=("gateway.invalid_session", "gateway.drop")),
    Drill("overload", 14, "user.burst", _of("overload"), _of("rate-limiter"), for_s=20.0),
    Drill("slow", 15, "rest.slow", _of("slow-responses"), _of("response-time"),
          for_s=40.0, params={"seconds": 4.5}, words="[[wait:1]]", shows_after_s=10.0),
    Drill("memory", 16, "bot.memory", _of("memory"), _of("memory")),
    Drill("document", 17, "bot.document", _of("data-damaged", "data-mended"), _of("datastore")),
    Drill("database", 18, "bot.database", _of("store-refuses"), _of("disk")),
    Drill("locks", 19, "bot.locks", _of("locks", "locks-broken"), _of("mutex")),
    Drill("loop", 20, "bot.loop", _of("loop-blocked"), _of("loop")),
    Drill("poison", 21, "rest.error", _of("dead-letters"), _of("dead-letter"), times=6,
          params={"status": 400, "route": "POST /channels/{}/messages"}, may_miss=6),
    Drill("service", 22, "bot.service", _of("service-failed"), _of("service-start")),
    Drill("task", 23, "bot.task", _of("task-died"), _of("service-start")),
    Drill("command", 24, "rest.error", _of("command-failed") | _REST,
          _of("commands") | _REST_BOOK, params={"route": "/callback"}, beside=("user.command",)),
    Drill("context-room", 25, "bot.temp", _of("context-failed"), _of("large-context")),
    Drill("settings", 26, "bot.settings", _of("config-refused"), _of("configuration")),
    Drill("clock", 27, "bot.clock", _of("clock-jump"), _of("clock")),
    Drill("storm", 28, "gemini.error", _of("storm"), _of("storm"), mend_max_s=90.0,
          beside=("rest.rate_limit", "gateway.duplicate")),
    Drill("blackout", 7, "gateway.refuse", _AWAY, _RECOVERY, for_s=45.0, also="gateway.drop",
          mend_max_s=90.0, beside=("gemini.error", "rest.error")),
    Drill("archives", 29, "user.archives", _of("hostile-input"), _of("hostile-input")),
    Drill("secret", 30, "bot.secret", _of("secret-redacted"), _of("secrets")),
)  # fmt: skip

DRILLS: Mapping[str, Drill] = {drill.name: drill for drill in _ALL}
