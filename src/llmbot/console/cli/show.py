"""Shows an answer of the API to people: single values as lines, collections as tables."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["is_well", "show", "show_json"]

WELL = frozenset({"healthy", "degraded", "maintenance", "alive", "ready"})
"""Of an answer's `status`; with any other the command's exit code is 1."""

_COLOURS = {
    "healthy": "green",
    "running": "green",
    "closed": "green",
    "ok": "green",
    "degraded": "yellow",
    "half-open": "yellow",
    "maintenance": "yellow",
    "unhealthy": "red",
    "failed": "red",
    "open": "red",
}
_LIST_SHOWN_MAX = 20
_GAP = 2
_WORD_MAX = 24
"""A word that is longer may be broken, so that a path does not hide the columns behind it."""
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|\+00:00)")


def show_json(found: Mapping[str, Any]) -> None:
    """Print an answer for scripts, exactly as the API gave it."""
    sys.stdout.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def is_well(found: Mapping[str, Any]) -> bool:
    """Whether an answer says that all is as it should be, for the exit code."""
    status = found.get("status")
    return found.get("success") is not False and (not isinstance(status, str) or status in WELL)


def show(found: Mapping[str, Any]) -> None:
    """Print an answer for people."""
    screen = Console()
    plain = {key: value for key, value in found.items() if not _is_collection(value)}
    if plain:
        table = _table()
        table.add_column(style="bold")
        table.add_column()
        for key, value in plain.items():
            table.add_row(_words(key), _cell(value))
        screen.print(table)
    # A collection of the whole answer, as `circuits` gives it, is one table without a title.
    if not plain and len(found) > 1 and all(isinstance(value, Mapping) for value in found.values()):
        _collection(screen, "", found)
        return
    for key, value in found.items():
        if _is_collection(value):
            _collection(screen, _words(key), value)


def _collection(screen: Console, title: str, value: Any) -> None:
    if title:
        screen.print(f"\n[bold]{title}[/]", highlight=False)
    if not value:
        screen.print("none", style="dim")
        return
    rows = dict(enumerate(value)) if isinstance(value, list) else value
    if all(isinstance(row, Mapping) for row in rows.values()):
        numbered = isinstance(value, list)
        shown = _that_fit(rows, screen.width, numbered=numbered)
        screen.print(_rows(rows, shown, numbered=numbered))
        more = [_words(name) for name in _columns(rows) if name not in shown]
        if more:
            screen.print(f"with --json also: {', '.join(more)}", style="dim", highlight=False)
        return
    table = _table()
    table.add_column()
    table.add_column()
    for key, entry in rows.items():
        table.add_row("" if isinstance(value, list) else str(key), _cell(entry))
    screen.print(table)


def _that_fit(
    rows: Mapping[Any, Mapping[str, Any]], width: int, *, numbered: bool
) -> dict[str, int]:
    """The columns, the first ones, that fit without breaking a word, and the widths of those."""
    left = width
    if not numbered:
        left -= max(len(str(key)) for key in rows) + _GAP
    shown: dict[str, int] = {}
    for name in _columns(rows):
        if _is_inner(rows, name):
            continue
        cells = [_cell(_shortened(row.get(name))).plain for row in rows.values()]
        longest = max(
            len(word) for text in (_words(name), *cells) for word in text.split() or ("",)
        )
        longest = min(longest, _WORD_MAX)
        left -= longest + _GAP
        if shown and left + _GAP < 0:
            break
        shown[name] = longest
    return shown


def _rows(
    rows: Mapping[Any, Mapping[str, Any]], columns: Mapping[str, int], *, numbered: bool
) -> Table:
    table = _table(header=True)
    if not numbered:
        table.add_column("", no_wrap=True, overflow="fold")
    for name, longest in columns.items():
        numbers = all(_is_number(row.get(name)) for row in rows.values())
        justify: Literal["right", "left"] = "right" if numbers else "left"
        table.add_column(_words(name), justify=justify, min_width=longest)
    for key, row in rows.items():
        cells = [_cell(_shortened(row.get(name))) for name in columns]
        table.add_row(*([] if numbered else [Text(str(key))]), *cells)
    return table


def _columns(rows: Mapping[Any, Mapping[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for row in rows.values() for name in row)
    # What is empty in every row tells nothing and takes the width that the others need.
    return [name for name in names if any(_told(row.get(name)) for row in rows.values())]


def _is_inner(rows: Mapping[Any, Mapping[str, Any]], name: str) -> bool:
    """Whether a column holds tables of its own, which no cell has room for."""
    return any(isinstance(row.get(name), Mapping) for row in rows.values())


def _table(*, header: bool = False) -> Table:
    return Table(
        box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=header, header_style="dim"
    )


def _cell(value: Any) -> Text:
    if value is None:
        return Text("-", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, str):
        return Text(value, style=_COLOURS.get(value, ""))
    if isinstance(value, Mapping):
        return Text(", ".join(f"{k} {_cell(v).plain}" for k, v in value.items() if _told(v)))
    if isinstance(value, list):
        return Text(", ".join(_cell(entry).plain for entry in value[:_LIST_SHOWN_MAX]))
    if isinstance(value, float):
        return Text(f"{value:g}")
    return Text(str(value))


def _shortened(value: Any) -> Any:
    """A moment to the second, all of them UTC: tables have no room for more."""
    return _MOMENT.sub(r"\1 \2", value) if isinstance(value, str) else value


def _is_collection(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list) and any(isinstance(entry, Mapping | list) for entry in value)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _told(value: Any) -> bool:
    return value not in (None, "", [], {})


def _words(key: str) -> str:
    """`lastStartMs` as people write it."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", key).lower()
