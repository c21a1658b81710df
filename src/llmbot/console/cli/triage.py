"""`llmbot triage`: the runbook's four-step checklist on one screen, with the next command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import typer

from llmbot.console.cli.client import Entry, Remote
from llmbot.console.cli.incidents import AsJson, DataDir, finder
from llmbot.console.triage import Readings, Triage, triage

OUTSIDE = ("discord", "gemini")


def add_triage(cli: typer.Typer, entry: Entry) -> None:
    """Add the command."""
    find = finder(entry)

    @cli.command(
        "triage", help="What is wrong, how far it reaches, and the command that comes next."
    )
    def look(as_json: AsJson = False, data_dir: DataDir = None) -> None:
        from llmbot.console.cli.show import show_json  # noqa: PLC0415 - rich is slow

        found = _read(find(data_dir))
        walked = triage(found)
        if as_json:
            show_json(asdict(walked))
        else:
            _show(walked)
        raise typer.Exit(0 if found.status["status"] in {"healthy", "maintenance"} else 1)


def _read(bot: Remote) -> Readings:
    return Readings(
        status=bot.ask("GET", "/api/health/status"),
        degradation=bot.ask("GET", "/api/health/degradation"),
        circuits=bot.ask("GET", "/api/health/circuits"),
        services=bot.ask("GET", "/api/health/services")["services"],
        memory=bot.ask("GET", "/api/health/memory"),
        queue=bot.ask("GET", "/api/admin/queue/status"),
        performance=bot.ask("GET", "/api/health/performance"),
        deadlocks=bot.ask("GET", "/api/admin/mutex/deadlocks"),
        external={name: bot.ask("GET", f"/api/health/external/{name}") for name in OUTSIDE},
        diagnosis=bot.ask("GET", "/api/diagnosis"),
    )


def _show(walked: Triage) -> None:
    steps: tuple[tuple[str, Mapping[str, str]], ...] = (
        ("1. System status", walked.status),
        ("2. Critical services", walked.services),
        ("3. Scope of the impact", walked.impact),
    )
    for title, words in steps:
        typer.secho(title, bold=True)
        for key, value in words.items():
            typer.echo(f"   {key:<13}{value}")
    typer.secho("4. Next", bold=True)
    for action in walked.actions:
        typer.echo(f"   {action.command}\n      {action.why}")
