"""`llmbot runbook …`: what the bot can do by itself, what it did, and the switches over it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from llmbot.console.cli.client import Entry
from llmbot.console.cli.incidents import AsJson, DataDir, Find, finder, show_done, show_json

Name = Annotated[str, typer.Argument(help="Name of the runbook; `llmbot runbook list` shows all.")]
_CONFLICT = 409


def runbook_commands(entry: Entry) -> typer.Typer:
    """The commands below `llmbot runbook`."""
    find = finder(entry)
    books = typer.Typer(help="What the bot can do by itself.", no_args_is_help=True)
    _run_command(books, find)

    @books.command("list", help="Every runbook.")
    def list_(as_json: AsJson = False, data_dir: DataDir = None) -> None:
        found = find(data_dir).ask("GET", "/api/runbooks")
        if as_json:
            show_json(found)
            return
        for each in found["runbooks"].values():
            mark = " (set aside)" if each["setAside"] else ""
            asks = " (asks for approval)" if each["asks"] else ""
            typer.echo(f"{each['name']:<20}  {each['title']}{mark}{asks}")

    @books.command("show", help="One runbook: its steps, and what the guard rails say of it.")
    def show(name: Name, as_json: AsJson = True, data_dir: DataDir = None) -> None:  # noqa: ARG001 - it has no other form
        show_json(find(data_dir).ask("GET", f"/api/runbooks/{name}"))

    _people_commands(books, find)
    return books


def _run_command(books: typer.Typer, find: Find) -> None:
    @books.command("run", help="Run it by hand; --dry-run tells what it would do.")
    def run(
        name: Name,
        target: Annotated[str, typer.Option(help="What it is run for.")] = "",
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell, do nothing.")] = False,
        as_json: AsJson = False,
        data_dir: DataDir = None,
    ) -> None:
        body = {"target": target, "dryRun": dry_run}
        path = f"/api/runbooks/{name}/run"
        found = find(data_dir).ask("POST", path, body, accept=(_CONFLICT,), deadline_s=180.0)
        if as_json:
            show_json(found)
        else:
            _show_run(found, dry_run=dry_run)
        raise typer.Exit(0 if found["success"] else 1)


def _show_run(found: dict[str, Any], *, dry_run: bool) -> None:
    typer.echo(f"{found['outcome']}: {found['reason']}")
    for act in found["acts"]:
        typer.echo(f"  {'would do' if dry_run else 'did'}: {act}")
    for rail, reason in found["refused"].items():
        typer.echo(f"  guard rail: {rail}: {reason}")


def _people_commands(books: typer.Typer, find: Find) -> None:
    @books.command("approve", help="Say yes to what a runbook asked, or return it to use.")
    def approve(name: Name, as_json: AsJson = False, data_dir: DataDir = None) -> None:
        done = find(data_dir).ask("POST", f"/api/runbooks/{name}/approve")
        show_done(done, as_json=as_json)

    @books.command("history", help="The last runs, the newest first.")
    def history(as_json: AsJson = False, data_dir: DataDir = None) -> None:
        found = find(data_dir).ask("GET", "/api/runbooks/history")
        if as_json:
            show_json(found)
            return
        for run in found["runs"]:
            words = f"{run['runbook']} for {run['cause']}: {run['outcome']}"
            typer.echo(f"{run['run']}  {words}  {run.get('reason', '')}")
        if not found["runs"]:
            typer.echo("No runbook has acted.")

    @books.command("kill", help="Throw the kill switch with a reason; without one put it back.")
    def kill(
        reason: Annotated[str, typer.Argument(help="Why.")] = "",
        as_json: AsJson = False,
        data_dir: DataDir = None,
    ) -> None:
        done = find(data_dir).ask("POST", "/api/runbooks/kill", {"reason": reason})
        show_done(done, as_json=as_json)

    @books.command("pause", help="Pause what is automatic with a reason; without one go on.")
    def pause(
        reason: Annotated[str, typer.Argument(help="Why.")] = "",
        minutes: Annotated[
            float | None, typer.Option(help="After which it ends by itself.", min=0.1)
        ] = None,
        as_json: AsJson = False,
        data_dir: DataDir = None,
    ) -> None:
        body = {"reason": reason, **({} if minutes is None else {"minutes": minutes})}
        done = find(data_dir).ask("POST", "/api/runbooks/pause", body)
        show_done(done, as_json=as_json)
