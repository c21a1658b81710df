"""`llmbot incident …` and `llmbot explain`: what went wrong, why, and what is wrong now."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from llmbot.console.cli.client import Entry, Remote, running_or_fail

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Data directory of the bot; else by DATA_DIR.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Key = Annotated[str, typer.Argument(help="Id of the incident, or `last`.")]

Find = Callable[[Path | None], Remote]


def finder(entry: Entry) -> Find:
    """How a command finds the bot that runs here."""

    def find(data_dir: Path | None) -> Remote:
        local = entry.local(data_dir)
        return Remote(running_or_fail(local).http_address, local.token)

    return find


def show_json(found: dict[str, Any]) -> None:
    """Print it for scripts."""
    sys.stdout.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def show_done(done: dict[str, Any], *, as_json: bool) -> None:
    """What was done, in words or as the API told it."""
    if as_json:
        show_json(done)
    else:
        typer.echo(done["detail"])


def add_explain(cli: typer.Typer, entry: Entry) -> None:
    """`llmbot explain`."""
    find = finder(entry)

    @cli.command(help="What is wrong now, why, what was ruled out, and what is done about it.")
    def explain(as_json: AsJson = False, data_dir: DataDir = None) -> None:
        found = find(data_dir).ask("GET", "/api/diagnosis")
        if as_json:
            show_json(found)
            return
        if found["well"]:
            typer.echo("Nothing is wrong that a sensor can see.")
        for cause in found["causes"]:
            _explain(cause)
        blind = [name for name, reading in found["sensors"].items() if reading["failed"]]
        typer.echo(f"{len(found['sensors'])} sensors looked, {len(blind)} cannot look.")


def _explain(cause: dict[str, Any]) -> None:
    typer.echo(
        f"{cause['severity']} {cause['what']} ({cause['name']}, row {cause['row']}), "
        f"for {cause['forSeconds']:g} s, confidence {cause['confidence']:.0%}"
    )
    for label, key in (
        ("evidence", "evidence"),
        ("consequence", "consequences"),
        ("ruled out", "ruledOut"),
    ):
        for each in cause[key]:
            typer.echo(f"  {label}: {each}")
    typer.echo(f"  runbook: {cause['runbook']}")
    typer.echo(f"  for people: {cause['remedy']}")


def incident_commands(entry: Entry) -> typer.Typer:
    """The commands below `llmbot incident`."""
    find = finder(entry)
    incidents = typer.Typer(help="What went wrong, and what was done.", no_args_is_help=True)

    @incidents.command("list", help="Every incident at a glance, the newest first.")
    def list_(as_json: AsJson = False, data_dir: DataDir = None) -> None:
        found = find(data_dir).ask("GET", "/api/incidents")
        if as_json:
            show_json(found)
            return
        for each in found["incidents"].values():
            typer.echo(
                f"{each['id']}  {each['severity']}  {each['status']:<6}  {each['openedAt']}  "
                f"{each['title']}"
            )
        if not found["incidents"]:
            typer.echo("There was no incident.")

    @incidents.command("show", help="One incident: its causes, actions and timeline.")
    def show(key: Key = "last", as_json: AsJson = False, data_dir: DataDir = None) -> None:
        found = find(data_dir).ask("GET", f"/api/incidents/{key}")
        if as_json:
            show_json(found)
            return
        typer.echo(f"{found['id']}  {found['severity']}  {found['status']}  {found['title']}")
        for line in found["timeline"]:
            typer.echo(f"  {line['at']}  {line['what']}")

    _report_commands(incidents, find)
    return incidents


def _report_commands(incidents: typer.Typer, find: Find) -> None:
    @incidents.command("report", help="The report for people, in Markdown (--json as data).")
    def report(key: Key = "last", as_json: AsJson = False, data_dir: DataDir = None) -> None:
        bot = find(data_dir)
        if as_json:
            show_json(bot.ask("GET", f"/api/incidents/{key}"))
            return
        sys.stdout.write(bot.text(f"/api/incidents/{key}/report"))

    @incidents.command("note", help="Add a note to an incident.")
    def note(
        key: Key,
        text: Annotated[str, typer.Argument(help="What to note.")],
        as_json: AsJson = False,
        data_dir: DataDir = None,
    ) -> None:
        done = find(data_dir).ask("POST", f"/api/incidents/{key}/note", {"text": text})
        show_done(done, as_json=as_json)
