"""What may go wrong with the model, and with how many people ask, for `trouble.py`.

Each weather begins and ends on a running stage. What a bot could reach at best is told beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.stage import MODEL, Stage

from llmbot.simulators.gemini.settings import Quota

Change = Callable[[Stage], None]
SLOW_FACTOR = 10


@dataclass(frozen=True, slots=True)
class Weather:
    """One kind of trouble and who asks meanwhile; times in seconds, rates a second."""

    name: str
    title: str
    seconds: float
    begin: Change
    end: Change
    per_s: float
    users: int = 40
    channels: int = 40
    after_s: float = 5.0
    """How long people go on asking when it is over."""
    loud_per_s: float = 0.0
    """What one further user asks alone."""
    model_s: float = 0.2
    """The model's time to its first words; a tenth of that between words."""
    slots: int = 0
    """Answers that the model gives side by side; more wait there. 0 is no limit."""
    workers: int = 0
    """Of llmbot, instead of the usual number."""
    answer_s: float = 2.0
    """Who asks later than this before the end can hardly be answered within it."""
    best_per_s: float = 0.0
    """Answers a second that could be had at best; 0 is all that is asked in time."""


class Slots:
    """A model server that answers so many side by side and lets the others wait, in their order."""

    def __init__(self, stage: Stage, count: int) -> None:
        """Stand before the model's answers from now on."""
        self._gate = asyncio.Semaphore(count)
        gemini: Any = stage.gemini
        self._reply = gemini._reply  # noqa: SLF001 - the simulated provider has no such limit of its own
        gemini._reply = self._in_turn  # noqa: SLF001 - see the line above

    async def _in_turn(self, *request: Any) -> Any:
        async with self._gate:
            return await self._reply(*request)


def _fault(name: str, probability: float = 1.0, **params: float | str) -> Change:
    return lambda stage: _ignore(
        stage.board.switch_on(name, probability=probability, params=params)
    )


def _over(*names: str) -> Change:
    return lambda stage: _ignore([stage.board.switch_off(name) for name in names])


def _ignore(_: object) -> None:
    """What a switch says is of no interest here."""


def _brown_out(stage: Stage) -> None:
    stage.board.switch_on("gemini.error", probability=0.3)
    stage.board.switch_on("gemini.slow", params={"seconds": 0.2 * SLOW_FACTOR / 3})


def _quota(quota: Quota) -> Change:
    def change(stage: Stage) -> None:
        stage.gemini.quotas.reset()
        stage.gemini.quotas.set(MODEL, quota)

    return change


def weathers(*, quick: bool) -> tuple[Weather, ...]:
    """All of them, of full length or short."""
    short, broken = (10.0, 8.0) if quick else (30.0, 20.0)
    return (
        Weather(
            "outage",
            "total outage (503)",
            15.0 if quick else 60.0,
            _fault("gemini.error"),
            _over("gemini.error"),
            per_s=4.0,
        ),
        Weather(
            "brownout",
            "brown-out: 30 % errors, ten times as slow",
            short,
            _brown_out,
            _over("gemini.error", "gemini.slow"),
            per_s=4.0,
            answer_s=4.0,
        ),
        *(
            Weather(
                name,
                f"{title} of half of all calls",
                broken,
                _fault(f"gemini.{name}", 0.5),
                _over(f"gemini.{name}"),
                per_s=3.0,
            )
            for name, title in (
                ("hang", "no answer at all"),
                ("stall", "stalled streams"),
                ("cut", "cut streams"),
                ("garbage", "garbage"),
            )
        ),
        Weather(
            "minute",
            "first model: 20 calls a minute",
            short,
            _quota(Quota(rpm=20)),
            _quota(Quota()),
            per_s=4.0,
        ),
        Weather(
            "day",
            "first model: 20 calls a day",
            short,
            _quota(Quota(rpd=20)),
            _quota(Quota()),
            per_s=4.0,
        ),
        Weather(
            "overload",
            "20 times what the model can answer",
            15.0 if quick else 30.0,
            _ignore,
            _ignore,
            per_s=20.0,
            users=400,
            channels=100,
            model_s=0.5,
            slots=1,
            workers=2,
            best_per_s=1.0,
        ),
        Weather(
            "loud",
            "one user asks as much as 100 of 200",
            short * 2,
            _ignore,
            _ignore,
            per_s=10.0,
            users=200,
            loud_per_s=5.0,
            model_s=0.2,
            slots=6,
            workers=16,
        ),
    )
