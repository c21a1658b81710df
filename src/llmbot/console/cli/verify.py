"""`llmbot verify`: the operators' validation checklist with one verdict."""

from __future__ import annotations

import typer

from llmbot.console.cli.client import Entry
from llmbot.console.cli.incidents import AsJson, DataDir, finder, show_json


def add_verify(cli: typer.Typer, entry: Entry) -> None:
    """Add the command."""
    find = finder(entry)

    @cli.command(help="Look at status, circuits, external services, performance, end to end.")
    def verify(as_json: AsJson = False, data_dir: DataDir = None) -> None:
        found = find(data_dir).ask("POST", "/api/verify", deadline_s=60.0)
        if as_json:
            show_json(found)
        else:
            for check in found["checks"]:
                mark = "ok    " if check["passed"] else "FAILS "
                typer.echo(f"{mark} {check['name']}: {check['detail']}")
            typer.echo("All checks passed." if found["success"] else "Some checks failed.")
        raise typer.Exit(0 if found["success"] else 1)
