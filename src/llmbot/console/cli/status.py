"""`llmbot status`: the same as `/api/health/status` and `/services`, for people or scripts."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from llmbot.console.cli.client import Remote
from llmbot.storage.instance import InstanceFacts

COLOURS = {"healthy": "green", "degraded": "yellow", "unhealthy": "red"}


def read_status(bot: Remote) -> dict[str, Any]:
    """The status with the services in it."""
    status = bot.ask("GET", "/api/health/status")
    services = bot.ask("GET", "/api/health/services").get("services", {})
    return {**status, "services": services}


def show_status(found: dict[str, Any], facts: InstanceFacts, *, as_json: bool) -> None:
    """Print it; as JSON exactly what the API said."""
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
        return
    screen = Console()
    colour = COLOURS.get(found["status"], "cyan")
    screen.print(
        f"[{colour}]{found['status']}[/] · {found['mode']} · up {_span(found['uptimeSeconds'])} · "
        f"version {found['version']} · process {facts.pid} · {facts.http_address}",
        highlight=False,
        soft_wrap=True,
    )
    for reason in found["reasons"]:
        screen.print(f"  {reason}", highlight=False, markup=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("part", "status", "state", "restarts", "start", "detail"):
        table.add_column(name, justify="right" if name in {"restarts", "start"} else "left")
    for name, part in found["parts"].items():
        service = found["services"].get(name, {})
        started = service.get("lastStartMs")
        table.add_row(
            name,
            f"[{COLOURS.get(part['status'], 'cyan')}]{part['status']}[/]",
            service.get("state", ""),
            str(service.get("restarts", "")),
            "" if started is None else f"{started} ms",
            _plain(part["detail"]),
        )
    screen.print(table)


def _plain(text: str) -> str:
    return text.replace("[", "\\[")


def _span(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"
