"""Runs one drill: breaks, talks as users do, watches, waits until all is well, counts the answers.

What the bot says of itself is asked for over its API; what users got is read off the simulated
Discord, which knows nothing of the bot.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from llmbot.console.cli.client import CommandError, NotRunningError, Remote
from llmbot.console.drills.acts import ACTS, CROWD, Stage
from llmbot.kernel.clock import Clock
from llmbot.operations.drills.drills import Drill, Seen, Verdict, judge

__all__ = ["DrillRunner"]

LOOK_S = 0.15
SAY_EVERY_S = 0.7
WARM_UP_S = 7.0
MEND_PATIENCE_S = 120.0
CALM_PATIENCE_S = 180.0
CALM_S = 5.0
"""So that the alarms of one drill and of the next do not add up to a storm."""

ANSWER_PATIENCE_S = 60.0
AFTER_NOTICE_S = 8.0
"""Long faults end once they are noticed and have had their time to do harm."""

USERS = ("drill-ada", "drill-ben", "drill-cem", "drill-dov", "drill-eva")
"""Each talks in a channel of the same name: Discord limits channels, and that is no fault."""


@dataclass(slots=True)
class _Watch:
    """What is gathered during one try; seconds since it began."""

    began: float
    struck: float | None = None
    noticed: float | None = None
    mended: float | None = None
    causes: set[str] = field(default_factory=set)
    runbooks: set[str] = field(default_factory=set)
    incidents: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)
    channels: tuple[str, ...] = USERS
    words: str = ""


class DrillRunner:
    """Runs drills against the bot that runs here."""

    def __init__(
        self, bot: Remote, simulators: Remote | None, kill: Callable[[], None], clock: Clock
    ) -> None:
        """Nothing is broken yet; without simulators (a live bot) nobody talks to it.

        `kill` ends the bot's process with signal 9.
        """
        self._bot = bot
        self._simulators = simulators
        self._kill = kill
        self._clock = clock
        self._users = cycle(USERS)
        self._spoken = float("-inf")

    async def warm_up(self) -> None:
        """Talk for a while, so that the bot knows what is usual here."""
        watch = _Watch(self._clock.monotonic())
        while self._clock.monotonic() < watch.began + WARM_UP_S:
            await self._talk(watch)
            await self._clock.sleep(LOOK_S)

    async def run(self, drill: Drill, for_s: float | None = None) -> Verdict:
        """One try; leaves no fault behind.

        Raises:
            CommandError: an incident goes on, so that nothing more is broken; or the drill needs
                simulators and there are none.
        """
        faults = (drill.fault, *drill.beside)
        if self._simulators is None and any(not name.startswith("bot.") for name in faults):
            raise CommandError(f"{drill.name} is for the demo: nothing outside is broken for it.")
        await self._until_calm()
        watch = _Watch(self._clock.monotonic(), words=drill.words)
        length = drill.for_s if for_s is None else for_s
        async with AsyncExitStack() as stack:
            begin = stack.enter_async_context
            await begin(self._fault(drill.fault, drill.params, length, drill.times, watch))
            if drill.also:
                await begin(self._fault(drill.also, {}, length, 1, watch))
            for name in drill.beside:
                await begin(self._fault(name, {}, length, None, watch))
            await self._during(drill, watch, length)
        if drill.then:
            watch.struck = self._now(watch)
            async with AsyncExitStack() as stack:
                for name in drill.then:
                    times = 1 if name == "gateway.drop" else None
                    await stack.enter_async_context(self._fault(name, {}, length, times, watch))
                await self._during(drill, watch, length)
        if drill.fault == "user.burst":
            watch.channels = (*USERS, *CROWD)
            await self._count(watch)  # who came at once is served in turn: nobody can do it faster
        ended = self._now(watch)
        await self._until_mended(drill, watch)
        answered, doubled, lost = await self._count(watch)
        in_incident = await self._in_incidents(watch)
        return judge(
            drill,
            Seen(
                struck_s=watch.struck,
                noticed_s=watch.noticed,
                ended_s=ended,
                mended_s=watch.mended,
                causes=frozenset(watch.causes & in_incident),
                runbooks=frozenset(watch.runbooks),
                said=len(watch.said),
                answered=answered,
                doubled=doubled,
                lost=lost,
            ),
        )

    # ── breaking ────────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def _fault(
        self, name: str, params: Any, seconds: float, times: int | None, watch: _Watch
    ) -> AsyncIterator[None]:
        """A fault for as long as the body runs."""
        if name in ACTS:
            stage = Stage(self._sim, self._ask, self._kill, watch.said)
            async with ACTS[name](stage):
                watch.struck = self._now(watch)
                yield
            return
        ask, path = self._sim, f"/_sim/faults/{name}"
        body: dict[str, Any] = {"seconds": seconds + 5.0}
        if name.startswith("bot."):
            ask, path = self._ask, f"/api/drills/{name}"
            body["live"] = self._simulators is None
        else:
            body |= {"params": dict(params)} | ({} if times is None else {"times": times})
        try:
            await ask("PUT", path, body)
            if name.startswith("bot."):
                watch.struck = self._now(watch)
            yield
        finally:
            with suppress(NotRunningError):
                await ask("DELETE", path)

    async def _during(self, drill: Drill, watch: _Watch, length: float) -> None:
        ends = self._clock.monotonic() + length
        shortened = False
        while self._clock.monotonic() < ends:
            await self._talk(watch)
            await self._look(drill, watch)
            if drill.times is None and watch.struck is None and not drill.then:
                faults = (await self._sim("GET", "/_sim/faults"))["active"]
                if faults.get(drill.fault, {}).get("struck"):
                    watch.struck = self._now(watch)
            if watch.noticed is not None and not shortened:
                shortened = True
                ends = min(ends, self._clock.monotonic() + AFTER_NOTICE_S)
            await self._clock.sleep(LOOK_S)

    # ── watching ────────────────────────────────────────────────────────────────────────────────

    async def _look(self, drill: Drill, watch: _Watch) -> dict[str, Any] | None:
        """What the bot says is wrong; None while it cannot be asked."""
        try:
            found = await self._ask("GET", "/api/diagnosis")
        except CommandError:
            return None
        except NotRunningError:
            return None
        if found["incident"] is not None:
            watch.incidents.add(found["incident"])
        for cause in found["causes"]:
            watch.causes.update((cause["name"], *cause["consequences"]))
            watch.runbooks.add(cause["runbook"])
            if watch.noticed is None and drill.causes & {cause["name"], *cause["consequences"]}:
                watch.noticed = self._now(watch)
        return found

    async def _until_mended(self, drill: Drill, watch: _Watch) -> None:
        """Until nothing is wrong, the incident is closed and users are answered again."""
        deadline = self._clock.monotonic() + MEND_PATIENCE_S
        while self._clock.monotonic() < deadline:
            await self._talk(watch)
            found = await self._look(drill, watch)
            if found is not None and watch.noticed is not None and _is_well(found):
                watch.mended = self._now(watch)
                return
            await self._clock.sleep(LOOK_S)

    async def _until_calm(self) -> None:
        deadline = self._clock.monotonic() + CALM_PATIENCE_S
        since = None
        while self._clock.monotonic() < deadline:
            well = False
            with suppress(CommandError, NotRunningError):
                well = _is_well(await self._ask("GET", "/api/diagnosis"))
            now = self._clock.monotonic()
            since = (since or now) if well else None
            if since is not None and now - since >= CALM_S:
                return
            await self._clock.sleep(0.5)
        raise CommandError("An incident goes on; nothing is broken on purpose meanwhile.")

    async def _in_incidents(self, watch: _Watch) -> set[str]:
        """Every cause and consequence in the incidents of this try."""
        names: set[str] = set()
        for key in watch.incidents:
            with suppress(CommandError, NotRunningError):
                for cause in (await self._ask("GET", f"/api/incidents/{key}"))["causes"]:
                    names.update((cause["name"], *cause["consequences"]))
        return names

    def _now(self, watch: _Watch) -> float:
        return self._clock.monotonic() - watch.began

    # ── users ───────────────────────────────────────────────────────────────────────────────────

    async def _talk(self, watch: _Watch) -> None:
        if self._simulators is None or self._clock.monotonic() - self._spoken < SAY_EVERY_S:
            return
        self._spoken = self._clock.monotonic()
        user = next(self._users)
        body = {
            "user": user,
            "channel": user,
            "content": f"What is a mutex, in {len(watch.said) + 10} words? ({watch.began:.3f})"
            f"{watch.words}",
            "mention_bot": True,
        }
        watch.said.append(str((await self._sim("POST", "/_sim/discord/say", body))["id"]))

    async def _count(self, watch: _Watch) -> tuple[int, int, int]:
        """(answered, answered twice, not answered) of what was said, once all had their time."""
        if self._simulators is None:
            return 0, 0, 0
        deadline = self._clock.monotonic() + ANSWER_PATIENCE_S
        while True:
            replies = await self._replies(watch.channels)
            lost = [key for key in watch.said if not replies[key]]
            if not lost or self._clock.monotonic() > deadline:
                break
            await self._clock.sleep(0.5)
        doubled = [key for key in watch.said if replies[key] > 1]
        return len(watch.said) - len(lost), len(doubled), len(lost)

    async def _replies(self, channels: Sequence[str]) -> Counter[str]:
        """How often each message was replied to; of a long answer the first part is counted."""
        replies: Counter[str] = Counter()
        for channel in channels:
            path = f"/_sim/discord/messages?channel={channel}&limit=500&versions=false"
            replies.update(
                str(message["reply_to"])
                for message in (await self._sim("GET", path))["messages"]
                if message["reply_to"]
                and not message["deleted_at"]
                and _is_first_part(message["nonce"])
            )
        return replies

    async def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        return await asyncio.to_thread(self._bot.ask, method, path, body)

    async def _sim(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        if self._simulators is None:
            raise CommandError("There are no simulators.")
        return await asyncio.to_thread(self._simulators.ask, method, path, body)


def _is_well(found: dict[str, Any]) -> bool:
    return bool(found["well"]) and found["incident"] is None


def _is_first_part(nonce: object) -> bool:
    """Whether a message of the bot begins an answer; `kernel.ids.part_nonce` names the parts."""
    return not isinstance(nonce, str) or "-" not in nonce or nonce.split("-")[1] == "0"
