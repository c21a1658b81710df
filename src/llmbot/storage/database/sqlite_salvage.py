"""All rows of one table of a damaged file that can still be read.

A damaged page answers with an error to whoever meets it. Rows before and behind it can be reached
by their keys, so the search steps over the damage: it gallops ahead until a key can be read, then
halves its way back to the first such key. Source of the file's structure:
https://sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from llmbot.storage.database.contract import Row, Value
from llmbot.storage.database.sqlite_connection import DAMAGE, SqliteConnection, primary_code

GAPS_MAX = 1000
"""Damaged places in one table after which its search ends."""

ROWS_AT_ONCE = 256

ROWS_A_PAGE_MAX = 16_384
"""The largest page has 65,536 bytes, the smallest cell four."""

ROWID_MIN = -(1 << 63)
ROWID_MAX = (1 << 63) - 1
"""Source: https://sqlite.org/rowidtable.html."""


class Salvager:
    """Reads one table; both files have it, their columns may differ."""

    def __init__(self, damaged: sqlite3.Connection, target: SqliteConnection, table: str) -> None:
        """`table` is quoted, and is in the target."""
        self._damaged = damaged
        self._table = table
        self.gaps = 0
        info = target.execute(f"PRAGMA table_info({table})")
        options = target.execute(f"PRAGMA table_list({table})")
        self._has_rowid = not options[0][4]
        self._key = [row[1] for row in sorted(info, key=lambda row: int(row[5])) if row[5]]
        there = self._columns()
        self._common = [row[1] for row in info if row[1] in there]
        names = ", ".join(map(_quoted, self._common))
        marks = ", ".join("?" for _ in self._common)
        self._names = names
        # Replace, so that what was salvaged wins over what a migration had put there.
        self.insert = f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - names of our schema

    def rows(self) -> Iterator[Row]:
        """Every row that can be read; `gaps` counts the places that cannot."""
        if not self._common:
            self.gaps += 1
        elif self._has_rowid:
            yield from self._by_rowid()
        else:
            yield from self._from_both_ends()

    def expected(self) -> int | None:
        """How many rows there were, where an undamaged index tells."""
        rows = self._try(f"SELECT count(*) FROM {self._table}")  # noqa: S608 - a name of our schema
        return int(rows[0][0]) if rows else None

    def _by_rowid(self) -> Iterator[Row]:
        sql = (
            f"SELECT rowid, {self._names} FROM {self._table} "  # noqa: S608 - names of our schema
            "WHERE rowid >= ? ORDER BY rowid LIMIT ?"
        )
        start: int | None = ROWID_MIN
        rows_max = ROWS_AT_ONCE
        while start is not None and self.gaps < GAPS_MAX:
            rows = self._try(sql, start, rows_max)
            if rows is not None and all(row[0] >= start for row in rows):
                yield from (row[1:] for row in rows)
                last = rows[-1][0] if rows else ROWID_MAX
                start = last + 1 if last < ROWID_MAX else None
            elif rows_max > 1:
                # The damage is somewhere in this lot: row by row up to it.
                rows_max = 1
            else:
                self.gaps += 1
                start, rows_max = self._next_start(start), ROWS_AT_ONCE

    def _next_start(self, failed: int) -> int | None:
        """Where to go on after a failure at this key or behind it; None at the end."""
        found = self._first_key(failed)
        if found is None:
            return self._behind(failed)
        # The key can be read, so the row's other pages are damaged: this row alone is lost.
        return found[0] + 1 if found and found[0] < ROWID_MAX else None

    def _behind(self, bad: int) -> int | None:
        """The first key behind a damaged one from which reading goes on; None at the end."""
        low, step = bad, 1
        while True:
            high = min(bad + step, ROWID_MAX)
            if self._first_key(high) is not None:
                break
            if high == ROWID_MAX:
                return None
            low, step = high, step * 2
        while high - low > 1:
            middle = (low + high) // 2
            if self._first_key(middle) is not None:
                high = middle
            else:
                low = middle
        return high if high > bad else None

    def _first_key(self, start: int) -> Row | None:
        """The first key from here on, in a row; empty at the end, None where it is unreadable."""
        sql = f"SELECT rowid FROM {self._table} WHERE rowid >= ? ORDER BY rowid LIMIT 1"  # noqa: S608 - a name of our schema
        rows = self._try(sql, start)
        return None if rows is None else rows[0] if rows else ()

    def _from_both_ends(self) -> Iterator[Row]:
        """A table without rowids has no numbers to step over: read it forwards, then backwards."""
        for direction in ("ASC", "DESC"):
            gaps = self.gaps
            yield from self._by_key(direction)
            if self.gaps == gaps:
                return

    def _by_key(self, direction: str) -> Iterator[Row]:
        keys = ", ".join(map(_quoted, self._key))
        order = ", ".join(f"{_quoted(name)} {direction}" for name in self._key)
        comparison = ">" if direction == "ASC" else "<"
        marks = ", ".join("?" for _ in self._key)
        width = len(self._key)
        head = f"SELECT {keys}, {self._names} FROM {self._table}"  # noqa: S608 - names of our schema
        tail = f"ORDER BY {order} LIMIT ?"
        # Pages may lead in a circle.
        left = int(self._ask("PRAGMA page_count")[0][0]) * ROWS_A_PAGE_MAX
        where, last, rows_max = "", (), ROWS_AT_ONCE
        while left > 0:
            rows = self._try(f"{head} {where} {tail}", *last, rows_max)
            if rows:
                yield from (row[width:] for row in rows)
                left -= len(rows)
                where, last = f"WHERE ({keys}) {comparison} ({marks})", rows[-1][:width]
            elif rows is not None:
                return
            elif rows_max > 1:
                rows_max = 1
            else:
                break
        self.gaps += 1

    def _columns(self) -> set[str]:
        return {row[1] for row in self._try(f"PRAGMA table_info({self._table})") or ()}

    def _try(self, sql: str, *params: Value) -> list[Row] | None:
        """The answer, or None where the file is damaged there."""
        try:
            return self._ask(sql, *params)
        except UnicodeDecodeError:
            return None
        except sqlite3.DatabaseError as error:
            # A disk that fails must not be taken for rows that are lost.
            if primary_code(error) not in DAMAGE:
                raise
            return None

    def _ask(self, sql: str, *params: Value) -> list[Row]:
        return self._damaged.execute(sql, params).fetchall()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
