"""Drills: catalogued faults to practise on, what each must lead to, and how a try is scored.

A drill names a fault of the simulators, what the loop must call it, and which runbook belongs to
it. Who runs it (`console/cli_drills.py`) injects the fault, talks meanwhile as users do, and hands
in what was seen; the verdict is made here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["DRILLS", "MEND_MAX_S", "NOTICE_MAX_S", "Drill", "Seen", "Verdict", "judge", "summary"]

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


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one try; seconds from the injection, None where it never came."""

    struck_s: float | None
    noticed_s: float | None
    ended_s: float
    mended_s: float | None
    causes: frozenset[str]
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
    doubled: int

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
            and self.mended_after_s <= MEND_MAX_S
            and self.right_cause
            and self.right_runbook
            and self.nothing_lost
        )


def judge(drill: Drill, seen: Seen) -> Verdict:
    """Score one try."""
    noticed = None
    if seen.noticed_s is not None:
        noticed = max(0.0, seen.noticed_s - (seen.struck_s or 0.0))
    mended = None if seen.mended_s is None else max(0.0, seen.mended_s - seen.ended_s)
    return Verdict(
        drill=drill.name,
        noticed_after_s=noticed,
        mended_after_s=mended,
        right_cause=bool(drill.causes & seen.causes),
        right_runbook=bool(drill.runbooks & seen.runbooks),
        lost=seen.lost,
        doubled=seen.doubled,
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


def _all() -> tuple[Drill, ...]:
    def of(*names: str) -> frozenset[str]:
        return frozenset(names)

    broken = of("model-broken-off")
    asked = of("api-interaction")
    away = of("gateway-away", "gateway-dropped")
    recovery = of("discord-recovery")
    rest, rest_book = of("discord-rest", "discord-breaker"), of("discord-rest", "circuit-breaker")
    wordless = of("model-wordless")
    quota = of("model-quota")
    return (
        Drill("quota-minute", 1, "gemini.quota_minute", of("model-quota-minute"), quota,
              params={"retry_s": 5, "limit": 1000}),
        Drill("quota-day", 2, "gemini.quota_day", of("model-quota-day"), quota,
              params={"limit": 100_000}),
        Drill("model-503", 3, "gemini.error", of("model-unavailable"), of("gemini-recovery")),
        Drill("model-500", 3, "gemini.error", of("model-unavailable"), of("gemini-recovery"),
              params={"status": 500}),
        Drill("model-cut", 4, "gemini.cut", broken, asked),
        Drill("model-no-finish", 4, "gemini.no_finish", broken, asked),
        Drill("model-garbage", 4, "gemini.garbage", broken, asked),
        Drill("model-hang", 4, "gemini.hang", broken, asked, for_s=45.0),
        Drill("model-stall", 4, "gemini.stall", broken, asked, for_s=40.0),
        Drill("model-key", 5, "gemini.bad_key", of("model-credentials"), of("model-credentials")),
        Drill("model-gone", 5, "gemini.no_model", of("model-missing"), of("model-credentials")),
        Drill("model-blocked", 6, "gemini.blocked", wordless, asked),
        Drill("model-empty", 6, "gemini.empty", wordless, asked),
        Drill("gateway-drop", 7, "gateway.drop", away, recovery, times=1),
        Drill("gateway-reconnect", 7, "gateway.reconnect", away, recovery, times=1),
        Drill("gateway-session", 7, "gateway.invalid_session", away, recovery,
              for_s=4.0, also="gateway.drop"),
        Drill("rest-401", 8, "rest.unauthorized", of("discord-refuses"),
              of("discord-credentials"), for_s=6.0),
        Drill("rest-429", 9, "rest.rate_limit", rest, rest_book, for_s=5.0,
              params={"retry_s": 1}),
        Drill("rest-503", 9, "rest.error", rest, rest_book),
        Drill("rest-accepted-502", 9, "rest.accepted_error", rest, rest_book),
        Drill("rest-reset", 9, "rest.reset", rest, rest_book),
        Drill("duplicates", 11, "gateway.duplicate", of("duplicates"), of("duplicates")),
        Drill("gateway-garbage", 7, "gateway.garbage", away | rest, recovery | rest_book,
              for_s=5.0),
    )  # fmt: skip


DRILLS: Mapping[str, Drill] = {drill.name: drill for drill in _all()}
