"""`llmbot config`: judged by the bot that runs here, else from the environment and `.env`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from llmbot.console.cli.client import CommandError, Entry, Remote, running
from llmbot.console.cli.data import REFUSALS, DataDesk, finish
from llmbot.console.cli.incidents import finder
from llmbot.console.cli.operate import pairs_of
from llmbot.console.views import ConfigView
from llmbot.kernel.errors import SettingsError

SETTINGS_FILE = "settings.json"
"""The document of settings that are in force without a restart."""

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Data directory of the bot; else by DATA_DIR.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def config_commands(entry: Entry) -> typer.Typer:
    """The commands below `llmbot config`."""
    config = typer.Typer(help="Check and show the settings.", no_args_is_help=True)

    @config.command(help="Check every setting.")
    def validate(as_json: AsJson = False, data_dir: DataDir = None) -> None:
        _finish(*_judged(entry, data_dir, live=False), as_json=as_json)

    @config.command(help="Check every setting and try the credentials for real.")
    def test(as_json: AsJson = False, data_dir: DataDir = None) -> None:
        _finish(*_judged(entry, data_dir, live=True), as_json=as_json)

    @config.command(help="Print the settings in force, secrets masked.")
    def show(as_json: AsJson = False, data_dir: DataDir = None) -> None:
        whose, found = _judged(entry, data_dir, live=False)
        settings: dict[str, str] = found.get("settings", {})
        if as_json:
            typer.echo(json.dumps(settings, indent=2, ensure_ascii=False))
            return
        typer.echo(f"# {whose}")
        for name, value in settings.items():
            typer.echo(f"{name}={value}")

    @config.command(help="Print every setting with its default and reason, as for .env.")
    def example(
        markdown: Annotated[bool, typer.Option(help="As the page of the docs.")] = False,
    ) -> None:
        typer.echo(entry.example(markdown=markdown), nl=False)

    _changing(config, entry)

    @config.command(help="The versions of the settings file, newest first.")
    def versions(as_json: AsJson = False, data_dir: DataDir = None) -> None:
        finish(DataDesk(entry, data_dir).do("versions", SETTINGS_FILE), as_json=as_json)

    @config.command(help="Put an earlier version of the settings file in force.")
    def rollback(
        at: Annotated[
            str,
            typer.Option(
                "--at", help="RFC 3339: as it was then; else the one before.", metavar="TIME"
            ),
        ] = "",
        as_json: AsJson = False,
        data_dir: DataDir = None,
    ) -> None:
        desk = DataDesk(entry, data_dir)
        finish(desk.do("restore", SETTINGS_FILE, at=at or _one_before(desk)), as_json=as_json)

    return config


def _changing(config: typer.Typer, entry: Entry) -> None:
    """Settings of the bot that runs here; of one that is down, `.env` and the file are edited."""

    @config.command(help="The settings that can be changed while the bot runs.")
    def changeable(as_json: AsJson = False, data_dir: DataDir = None) -> None:
        found = finder(entry)(data_dir).ask("GET", "/api/admin/config/settings")
        finish(found, as_json=as_json)

    @config.command(help="Change settings of the bot that runs here; in force at once.")
    def change(
        values: Annotated[
            list[str] | None, typer.Argument(help="New values.", metavar="NAME=VALUE…")
        ] = None,
        reset: Annotated[
            list[str] | None, typer.Option(help="Give NAME its former value.", metavar="NAME")
        ] = None,
        dry_run: Annotated[bool, typer.Option(help="Only check, and show the difference.")] = False,
        reason: Annotated[str, typer.Option(help="Why, for the audit and the log.")] = "",
        as_json: AsJson = False,
        data_dir: DataDir = None,
    ) -> None:
        body = {"settings": pairs_of(values or ()), "reset": reset or [], "dryRun": dry_run}
        path = "/api/admin/config/change"
        found = finder(entry)(data_dir).ask(
            "POST", path, {**body, "reason": reason}, accept=REFUSALS
        )
        finish(found, as_json=as_json)


def _one_before(desk: DataDesk) -> str:
    """When the newest sound version before the present one was saved."""
    present = desk.do("validate", SETTINGS_FILE).get("savedAt")
    for version in desk.do("versions", SETTINGS_FILE).get("versions", ()):
        if version["status"] == "valid" and version["savedAt"] != present:
            return str(version["savedAt"])
    raise CommandError("No earlier version of the settings file is kept.")


def _judged(entry: Entry, data_dir: Path | None, *, live: bool) -> tuple[str, dict[str, Any]]:
    """Whose settings were judged, and how."""
    local = entry.local(data_dir)
    facts = running(local)
    if facts is None:
        return "the environment and .env", as_shown(entry.config(live=live), live=live)
    path = f"/api/admin/config/validate{'?live=true' if live else ''}"
    found = Remote(facts.http_address, local.token).ask("GET", path)
    return f"the bot at {facts.http_address}", found


def _finish(whose: str, found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _tell(whose, found)
    raise typer.Exit(0 if found.get("valid") else SettingsError.exit_code)


def as_shown(view: ConfigView, *, live: bool) -> dict[str, Any]:
    """A view in the shape in which the API tells it."""
    return {
        "valid": view.valid,
        "live": live,
        "problems": list(view.problems),
        "warnings": list(view.warnings),
        "checks": {
            check.name: {"ok": check.ok, "detail": check.detail, "remedy": check.remedy}
            for check in view.checks
        },
        "settings": dict(view.settings),
    }


def _tell(whose: str, found: dict[str, Any]) -> None:
    for problem in found.get("problems", []):
        typer.echo(f"✗ {problem}")
    for warning in found.get("warnings", []):
        typer.echo(f"! {warning}")
    for name, check in found.get("checks", {}).items():
        remedy = f" {check['remedy']}" if check.get("remedy") else ""
        typer.echo(f"{'✓' if check['ok'] else '✗'} {name}: {check['detail']}{remedy}")
    verdict = "valid" if found.get("valid") else "not valid"
    typer.echo(f"The settings of {whose} are {verdict}.")
