"""A stage for one run: simulators, bot, talk; everything is ended with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.crash.harness.control import Control
from tests.crash.harness.outside import Random, monotonic, until
from tests.crash.harness.processes import Bot, Pace, Simulators
from tests.crash.harness.talk import Talk
from tests.crash.harness.verdict import Verdict, settled

_READY_S = 40.0
# Nothing has changed for so long: nothing will. On a busy machine a start alone takes 15 s.
QUIET_S = 60.0


@dataclass(slots=True)
class Stage:
    """What a run plays with."""

    simulators: Simulators
    control: Control
    bot: Bot
    talk: Talk
    rng: Random

    async def ready(self) -> None:
        """Wait until the bot has a session on the gateway."""
        deadline = monotonic() + _READY_S
        while not await self.connected():
            if not self.bot.running:
                raise AssertionError(f"the bot ended with {self.bot.exit_code}")
            if not await until(deadline):
                raise AssertionError("the bot is not ready")

    async def connected(self) -> bool:
        """Whether a session is connected now."""
        sessions = (await self.control.call("GET", "discord/gateway"))["sessions"]
        return any(session["connected"] for session in sessions)

    async def verdict(self, patience_s: float = QUIET_S) -> Verdict:
        """Without faults, and with the bot up: the count once all is quiet."""
        await self.control.calm()
        await self.talk.learn()
        if not self.bot.running:
            await self.bot.start()
        return await settled(self.control, self.talk.asked, patience_s)


@asynccontextmanager
async def stage(
    directory: Path,
    *,
    seed: int = 1,
    pace: Pace | None = None,
    users: int = 12,
    limits: bool = False,
    **environment: str,
) -> AsyncIterator[Stage]:
    """Simulators that run, a bot that was not started yet."""
    simulators = Simulators(directory, pace or Pace(seed=seed))
    try:
        await simulators.start()
        control = Control(simulators.address)
        bot = Bot(directory, simulators.address, **environment)
        rng = Random(seed)
        talk = Talk(control, rng, tuple(f"user{n}" for n in range(users)))
        try:
            await control.limits(enabled=limits)
            yield Stage(simulators, control, bot, talk, rng)
        finally:
            await bot.kill()
            await control.close()
    finally:
        await simulators.stop()
