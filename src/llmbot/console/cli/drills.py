"""`llmbot drill …`: breaks the bot on purpose, measures how it mends itself, and scores it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from llmbot.console.cli.client import CommandError, Entry, Remote, running_or_fail
from llmbot.console.cli.incidents import DataDir
from llmbot.console.drills.demo import own_demo
from llmbot.console.drills.runner import DrillRunner
from llmbot.kernel.clock import SystemClock
from llmbot.operations.drills.drills import DRILLS, Drill, Verdict, as_table, summary
from llmbot.operations.drills.scores import keep_score

Say = Callable[[Verdict], None]
Rounds = Annotated[int, typer.Option(help="How often.", min=1, max=100)]
Record = Annotated[bool, typer.Option("--record", help="Append the scores to docs/figures.md.")]
Live = Annotated[bool, typer.Option("--live", help="Break a live bot that people use.")]
Own = Annotated[bool, typer.Option("--own-demo", help="Start a demo for it, and end it.")]

FIGURES = Path("docs/figures.md")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|)")


def told(verdict: Verdict) -> str:
    """One line."""
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
        f"{mark} {verdict.drill:<18} noticed {_seconds(verdict.noticed_after_s):>7}, "
        f"mended {_seconds(verdict.mended_after_s):>7}  {', '.join(wrong)}"
    )


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"


async def _run_all(
    runner: DrillRunner, chosen: Sequence[Drill], rounds: int, for_s: float | None, say: Say
) -> list[Verdict]:
    verdicts = []
    await runner.warm_up()
    for _ in range(rounds):
        for drill in chosen:
            verdicts.append(await runner.run(drill, for_s))
            say(verdicts[-1])
    return verdicts


def span(text: str) -> float:
    """Seconds from `60`, `60s` or `1m`, at least one.

    Raises:
        typer.BadParameter: it is none of these.
    """
    found = _SPAN.fullmatch(text)
    seconds = 0.0 if found is None else float(found[1]) * (60 if found[2] == "m" else 1)
    if seconds < 1:
        raise typer.BadParameter(f"{text!r} is no time such as 60, 60s or 1m")
    return seconds


def _say(data_dir: Path, verdict: Verdict) -> None:
    """Tell how it went, and keep it for the page."""
    typer.echo(told(verdict))
    with suppress(OSError):  # a drill may have filled the disk; the line above told it all
        keep_score(data_dir, verdict, SystemClock().wall())


class _Ground:
    """Where drills are run: the bot that runs here, or a demo of their own."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    def run(
        self,
        chosen: Sequence[Drill],
        rounds: int,
        data_dir: Path | None,
        *,
        for_s: float | None = None,
        own: bool = False,
        live: bool = False,
        record: bool = False,
    ) -> None:
        with ExitStack() as stack:
            if own:
                data_dir = stack.enter_context(own_demo(typer.echo))
            runner = self._runner(data_dir, live=live)
            say = partial(_say, self._entry.local(data_dir).data_dir)
            verdicts = asyncio.run(_run_all(runner, chosen, rounds, for_s, say))
        if len(verdicts) > 1:
            typer.echo(json.dumps(summary(verdicts), indent=2))
        if record:
            with FIGURES.open("a", encoding="utf-8") as file:
                file.write(as_table(verdicts, SystemClock().wall()))
        raise typer.Exit(0 if all(verdict.passed for verdict in verdicts) else 1)

    def _runner(self, data_dir: Path | None, *, live: bool) -> DrillRunner:
        local = self._entry.local(data_dir)
        facts = running_or_fail(local)
        if not facts.simulator_address and not live:
            raise CommandError(
                "The bot that runs here is live: it is broken on purpose only with --live."
            )

        def kill() -> None:
            os.kill(running_or_fail(local).pid, signal.SIGKILL)

        bot = Remote(facts.http_address, local.token)
        incident = bot.ask("GET", "/api/diagnosis")["incident"]
        if incident is not None:
            raise CommandError(f"Incident {incident} goes on; nothing is broken on purpose now.")
        simulators = Remote(facts.simulator_address) if facts.simulator_address else None
        return DrillRunner(bot, simulators, kill, SystemClock())


def drill_commands(entry: Entry) -> typer.Typer:
    """The commands below `llmbot drill`."""
    drills = typer.Typer(help="Break the bot on purpose, and score it.", no_args_is_help=True)
    ground = _Ground(entry)

    @drills.command("list", help="Every drill.")
    def list_() -> None:
        for drill in DRILLS.values():
            names = ", ".join(sorted(drill.causes))
            typer.echo(f"{drill.name:<18} row {drill.row:>2}  {drill.fault:<24} -> {names}")

    @drills.command("run", help="One drill.")
    def run(
        name: Annotated[str, typer.Argument(help="Its name; `llmbot drill list` shows all.")],
        *,
        for_s: Annotated[
            float | None,
            typer.Option("--for", help="How long the fault lasts, as 60, 60s or 1m.", parser=span),
        ] = None,
        rounds: Rounds = 1,
        own: Own = False,
        live: Live = False,
        record: Record = False,
        data_dir: DataDir = None,
    ) -> None:
        chosen = [_known(name)]
        ground.run(chosen, rounds, data_dir, for_s=for_s, own=own, live=live, record=record)

    _all_command(drills, ground)
    return drills


def _all_command(drills: typer.Typer, ground: _Ground) -> None:
    @drills.command("all", help="Every drill, one after the other.")
    def all_(
        *,
        begin_with: Annotated[str, typer.Option("--from", help="Leave out those before.")] = "",
        rounds: Rounds = 1,
        own: Own = False,
        record: Record = False,
        data_dir: DataDir = None,
    ) -> None:
        names = list(DRILLS)
        chosen = names[names.index(_known(begin_with).name) if begin_with else 0 :]
        ground.run([DRILLS[name] for name in chosen], rounds, data_dir, own=own, record=record)


def _known(name: str) -> Drill:
    if name not in DRILLS:
        raise CommandError(f"There is no drill {name}; there are: {', '.join(DRILLS)}.")
    return DRILLS[name]
