"""`llmbot fault`: switches the simulators' faults on and off while they run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from llmbot.console.cli.client import CommandError, Entry, Remote, simulator_address

Simulator = Annotated[str, typer.Option(help="Address of `llmbot simulate`; else the demo's.")]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Data directory of the demo; else by DATA_DIR.")
]
Name = Annotated[str, typer.Argument(help="Name of the fault; `llmbot fault list` shows all.")]


def fault_commands(entry: Entry) -> typer.Typer:
    """The commands below `llmbot fault`."""
    faults = typer.Typer(help="Break things in the demo, and mend them.", no_args_is_help=True)

    def simulators(address: str, data_dir: Path | None) -> Remote:
        return Remote(simulator_address(entry.local(data_dir), address))

    @faults.command("list", help="Every fault there is, and those switched on.")
    def list_(
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
        simulator: Simulator = "",
        data_dir: DataDir = None,
    ) -> None:
        found = simulators(simulator, data_dir).ask("GET", "/_sim/faults")
        if as_json:
            typer.echo(json.dumps(found, indent=2))
        else:
            _show(found)

    @faults.command("on", help="Switch a fault on, e.g. `gemini.hang --for 30`.")
    def on(
        name: Name,
        probability: Annotated[
            float, typer.Option(help="Of each opportunity, above 0 up to 1.", max=1)
        ] = 1.0,
        seconds: Annotated[
            float | None, typer.Option("--for", help="Seconds until it ends by itself.")
        ] = None,
        times: Annotated[
            int | None, typer.Option(help="How often it strikes before it ends.", min=1)
        ] = None,
        param: Annotated[
            list[str] | None, typer.Option(help="What shapes it, e.g. status=500.")
        ] = None,
        simulator: Simulator = "",
        data_dir: DataDir = None,
    ) -> None:
        body: dict[str, Any] = {"probability": probability, "params": _params(param or [])}
        body |= {} if seconds is None else {"seconds": seconds}
        body |= {} if times is None else {"times": times}
        simulators(simulator, data_dir).ask("PUT", f"/_sim/faults/{name}", body)
        until = f" for {seconds:g} s" if seconds is not None else ""
        typer.echo(f"{name} is on{until}. `llmbot fault off {name}` ends it.")

    @faults.command("off", help="Switch a fault off.")
    def off(name: Name, simulator: Simulator = "", data_dir: DataDir = None) -> None:
        answer = simulators(simulator, data_dir).ask("DELETE", f"/_sim/faults/{name}")
        typer.echo(f"{name} is off." if answer.get("wasActive") else f"{name} was not on.")

    @faults.command("clear", help="Switch every fault off.")
    def clear(simulator: Simulator = "", data_dir: DataDir = None) -> None:
        simulators(simulator, data_dir).ask("DELETE", "/_sim/faults")
        typer.echo("No fault is on.")

    return faults


def _params(pairs: list[str]) -> dict[str, float | str]:
    params: dict[str, float | str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise CommandError(f"--param {pair} has another form than NAME=VALUE.")
        try:
            params[key] = float(value)
        except ValueError:
            params[key] = value
    return params


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only who looks pays for it
    from rich.table import Table  # noqa: PLC0415 - only who looks pays for it

    active = found.get("active", {})
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", "fault", "what it does"):
        table.add_column(name)
    for name, words in found.get("known", {}).items():
        fault = active.get(name)
        table.add_row("[red]on[/]" if fault else "", name, words + _state(fault))
    Console().print(table)


def _state(fault: dict[str, Any] | None) -> str:
    if not fault:
        return ""
    left = fault.get("secondsLeft")
    told = [f"struck {fault.get('struck', 0)} times"]
    told += [] if left is None else [f"{left:.0f} s left"]
    return f" · {', '.join(told)}"
