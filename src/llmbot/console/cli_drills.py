"""`llmbot drill …`: breaks the demo on purpose, measures how it mends itself, and scores it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Annotated, Any

import typer

from llmbot.console.cli_client import CommandError, Entry, Remote, running_or_fail
from llmbot.console.cli_incidents import DataDir
from llmbot.kernel.clock import Clock, SystemClock
from llmbot.operations.drills import DRILLS, Drill, Seen, Verdict, judge, summary

LOOK_S = 0.15
SAY_EVERY_S = 0.7
WARM_UP_S = 7.0
MEND_PATIENCE_S = 90.0
CALM_PATIENCE_S = 120.0
ANSWER_PATIENCE_S = 60.0
USERS = ("drill-ada", "drill-ben", "drill-cem", "drill-dov", "drill-eva")
"""Each talks in a channel of the same name: Discord limits channels, and that is no fault."""

Say = Callable[[str], None]


@dataclass(slots=True)
class _Watch:
    """What is gathered during one try."""

    began: float
    struck: float | None = None
    noticed: float | None = None
    mended: float | None = None
    causes: set[str] = field(default_factory=set)
    runbooks: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)


class DrillRunner:
    """Runs drills against the demo that runs here."""

    def __init__(self, bot: Remote, simulators: Remote, clock: Clock) -> None:
        """Nothing is broken yet."""
        self._bot = bot
        self._simulators = simulators
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
            CommandError: an incident goes on, so that nothing more is broken.
        """
        await self._until_calm()
        clock = self._clock
        watch = _Watch(clock.monotonic())
        length = drill.for_s if for_s is None else for_s
        body: dict[str, Any] = {"params": dict(drill.params), "seconds": length + 5.0}
        body |= {} if drill.times is None else {"times": drill.times}
        path = f"/_sim/faults/{drill.fault}"
        try:
            await self._sim("PUT", path, body)
            if drill.also:
                await self._sim(
                    "PUT", f"/_sim/faults/{drill.also}", {"times": 1, "seconds": length}
                )
            await self._during(drill, watch, length)
        finally:
            await self._sim("DELETE", path)
            if drill.also:
                await self._sim("DELETE", f"/_sim/faults/{drill.also}")
        ended = clock.monotonic() - watch.began
        await self._until_mended(drill, watch)
        answered, doubled, lost = await self._count(watch)
        return judge(
            drill,
            Seen(
                watch.struck,
                watch.noticed,
                ended,
                watch.mended,
                frozenset(watch.causes),
                frozenset(watch.runbooks),
                len(watch.said),
                answered,
                doubled,
                lost,
            ),
        )

    async def _during(self, drill: Drill, watch: _Watch, length: float) -> None:
        ends = watch.began + length
        noticed_s = None
        while self._clock.monotonic() < ends:
            await self._talk(watch)
            await self._look(drill, watch)
            if drill.times is None and watch.struck is None:
                faults = (await self._sim("GET", "/_sim/faults"))["active"]
                if faults.get(drill.fault, {}).get("struck"):
                    watch.struck = self._clock.monotonic() - watch.began
            if watch.noticed is not None and noticed_s is None:
                noticed_s = self._clock.monotonic()
                # Long faults end once they are noticed and have had their time to do harm.
                ends = min(ends, noticed_s + 8.0)
            await self._clock.sleep(LOOK_S)

    async def _look(self, drill: Drill, watch: _Watch) -> None:
        found = await self._ask("/api/diagnosis")
        for cause in found["causes"]:
            watch.causes.add(cause["name"])
            watch.runbooks.add(cause["runbook"])
            if cause["name"] in drill.causes and watch.noticed is None:
                watch.noticed = self._clock.monotonic() - watch.began

    async def _until_mended(self, drill: Drill, watch: _Watch) -> None:
        """Until nothing is wrong, the incident is closed and users are answered again."""
        deadline = self._clock.monotonic() + MEND_PATIENCE_S
        while self._clock.monotonic() < deadline:
            await self._talk(watch)
            await self._look(drill, watch)
            found = await self._ask("/api/diagnosis")
            if found["well"] and found["incident"] is None and watch.noticed is not None:
                watch.mended = self._clock.monotonic() - watch.began
                return
            await self._clock.sleep(LOOK_S)

    async def _until_calm(self) -> None:
        deadline = self._clock.monotonic() + CALM_PATIENCE_S
        while self._clock.monotonic() < deadline:
            found = await self._ask("/api/diagnosis")
            if found["well"] and found["incident"] is None:
                return
            await self._clock.sleep(0.5)
        raise CommandError("An incident goes on; nothing is broken on purpose meanwhile.")

    async def _talk(self, watch: _Watch) -> None:
        if self._clock.monotonic() - self._spoken < SAY_EVERY_S:
            return
        self._spoken = self._clock.monotonic()
        user = next(self._users)
        body = {
            "user": user,
            "channel": user,
            "content": f"What is a mutex, in {len(watch.said) + 10} words? ({watch.began:.3f})",
            "mention_bot": True,
        }
        watch.said.append(str((await self._sim("POST", "/_sim/discord/say", body))["id"]))

    async def _count(self, watch: _Watch) -> tuple[int, int, int]:
        """(answered, answered twice, not answered) of what was said, once all had their time."""
        deadline = self._clock.monotonic() + ANSWER_PATIENCE_S
        while True:
            messages: list[dict[str, Any]] = []
            for user in USERS:
                path = f"/_sim/discord/messages?channel={user}&limit=300&versions=false"
                messages += (await self._sim("GET", path))["messages"]
            # A long answer has several parts; its first one is counted.
            replies = Counter(
                m["reply_to"]
                for m in messages
                if m["reply_to"] and not m["deleted_at"] and _is_first_part(m["nonce"])
            )
            lost = [key for key in watch.said if not replies[key]]
            if not lost or self._clock.monotonic() > deadline:
                break
            await self._clock.sleep(0.5)
        doubled = [key for key in watch.said if replies[key] > 1]
        return len(watch.said) - len(lost), len(doubled), len(lost)

    async def _ask(self, path: str) -> dict[str, Any]:
        return await asyncio.to_thread(self._bot.ask, "GET", path)

    async def _sim(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        return await asyncio.to_thread(self._simulators.ask, method, path, body)


def _is_first_part(nonce: object) -> bool:
    """Whether a message of the bot begins an answer; `kernel.ids.part_nonce` names the parts."""
    return not isinstance(nonce, str) or "-" not in nonce or nonce.split("-")[1] == "0"


def told(verdict: Verdict) -> str:
    """One line."""

    def seconds(value: float | None) -> str:
        return "never" if value is None else f"{value:.1f} s"

    wrong = [
        words
        for good, words in (
            (verdict.right_cause, "wrong cause"),
            (verdict.right_runbook, "wrong runbook"),
            (verdict.nothing_lost, f"{verdict.lost} lost, {verdict.doubled} doubled"),
        )
        if not good
    ]
    mark = "ok   " if verdict.passed else "FAILS"
    return (
        f"{mark} {verdict.drill:<18} noticed {seconds(verdict.noticed_after_s):>7}, "
        f"mended {seconds(verdict.mended_after_s):>7}  {', '.join(wrong)}"
    )


async def _run_all(
    runner: DrillRunner, chosen: Sequence[Drill], rounds: int, for_s: float | None, say: Say
) -> list[Verdict]:
    verdicts = []
    await runner.warm_up()
    for _ in range(rounds):
        for drill in chosen:
            verdicts.append(await runner.run(drill, for_s))
            say(told(verdicts[-1]))
    return verdicts


def drill_commands(entry: Entry) -> typer.Typer:
    """The commands below `llmbot drill`."""
    drills = typer.Typer(help="Break the demo on purpose, and score it.", no_args_is_help=True)

    def runner(data_dir: Any) -> DrillRunner:
        local = entry.local(data_dir)
        facts = running_or_fail(local)
        if not facts.simulator_address:
            raise CommandError("The bot that runs here is live: drills are for the demo.")
        return DrillRunner(
            Remote(facts.http_address, local.token),
            Remote(facts.simulator_address),
            SystemClock(),
        )

    def go(chosen: Sequence[Drill], rounds: int, for_s: float | None, data_dir: Any) -> None:
        verdicts = asyncio.run(_run_all(runner(data_dir), chosen, rounds, for_s, typer.echo))
        if len(verdicts) > 1:
            typer.echo(json.dumps(summary(verdicts), indent=2))
        raise typer.Exit(0 if all(verdict.passed for verdict in verdicts) else 1)

    @drills.command("list", help="Every drill.")
    def list_() -> None:
        for drill in DRILLS.values():
            names = ", ".join(sorted(drill.causes))
            typer.echo(f"{drill.name:<18} row {drill.row:>2}  {drill.fault:<24} -> {names}")

    @drills.command("run", help="One drill.")
    def run(
        name: Annotated[str, typer.Argument(help="Its name; `llmbot drill list` shows all.")],
        for_s: Annotated[
            float | None, typer.Option("--for", help="Seconds that the fault lasts.", min=1)
        ] = None,
        rounds: Annotated[int, typer.Option(help="How often.", min=1, max=100)] = 1,
        data_dir: DataDir = None,
    ) -> None:
        if name not in DRILLS:
            raise CommandError(f"There is no drill {name}; there are: {', '.join(DRILLS)}.")
        go((DRILLS[name],), rounds, for_s, data_dir)

    _all_command(drills, go)
    return drills


Go = Callable[[Sequence[Drill], int, float | None, Any], None]


def _all_command(drills: typer.Typer, go: Go) -> None:
    @drills.command("all", help="Every drill, one after the other.")
    def all_(
        *,
        begin_with: Annotated[str, typer.Option("--from", help="Leave out those before.")] = "",
        rounds: Annotated[int, typer.Option(help="How often.", min=1, max=100)] = 1,
        data_dir: DataDir = None,
    ) -> None:
        if begin_with and begin_with not in DRILLS:
            raise CommandError(f"There is no drill {begin_with}; there are: {', '.join(DRILLS)}.")
        names = list(DRILLS)
        chosen = names[names.index(begin_with) if begin_with else 0 :]
        go([DRILLS[name] for name in chosen], rounds, None, data_dir)
