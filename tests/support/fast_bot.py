"""The bot as its operator starts it, on a clock that can be made to run faster.

From SIGUSR1 to SIGUSR2 every second takes as much less as `--factor` says, for all of the bot: an
hour passes in minutes, with real processes, sockets and disks. `python -m tests.support.fast_bot`.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from dataclasses import dataclass, field

from llmbot.app.run import run_bot
from llmbot.app.settings.tree import load_settings
from llmbot.kernel.clock import SystemClock


@dataclass(slots=True, eq=False)
class FastClock:
    """The machine's clocks, `factor` times as fast while `hurry` says so."""

    factor: float
    speed: float = 1.0
    _machine: SystemClock = field(default_factory=SystemClock)
    _gained_s: float = 0.0
    _since_s: float = 0.0
    _sleepers: set[asyncio.Future[None]] = field(default_factory=set)

    def hurry(self, *, on: bool) -> None:
        """Run fast, or as the machine's clocks do; sleepers look at their time again."""
        self._gained_s, self._since_s = self._ahead_s(), self._machine.monotonic()
        self.speed = self.factor if on else 1.0
        for sleeper in list(self._sleepers):
            _wake(sleeper)

    def wall(self) -> float:
        """See `Clock.wall`."""
        return self._machine.wall() + self._ahead_s()

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._machine.monotonic() + self._ahead_s()

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        if seconds <= 0:
            await self._machine.sleep(0)
            return
        loop = asyncio.get_running_loop()
        until = self.monotonic() + seconds
        while (left := until - self.monotonic()) > 0:
            woken: asyncio.Future[None] = loop.create_future()
            timer = loop.call_later(left / self.speed, _wake, woken)
            self._sleepers.add(woken)
            try:
                await woken
            finally:
                timer.cancel()
                self._sleepers.discard(woken)

    def _ahead_s(self) -> float:
        return self._gained_s + (self.speed - 1.0) * (self._machine.monotonic() - self._since_s)


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


async def main(factor: float) -> int:
    """Run until the end; the exit code."""
    clock = FastClock(factor)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: clock.hurry(on=True))
    loop.add_signal_handler(signal.SIGUSR2, lambda: clock.hurry(on=False))
    return await run_bot(
        load_settings(),
        mode="live",
        simulator_address=None,
        announce=_say,
        clock=clock,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--factor", type=float, required=True)
    raise SystemExit(asyncio.run(main(parser.parse_args().factor)))
