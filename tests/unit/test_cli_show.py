"""Answers of the API as people see them in a terminal."""

from __future__ import annotations

import pytest

from llmbot.console.cli.show import show

COLUMNS = ("valid", "status", "kind", "bytes", "version", "savedAt", "backup", "generations")
ROW = (True, "valid", "settings", 234, 1, "2026-12-01T01:06:11.000Z", "valid", 12)


@pytest.mark.parametrize("name", ["settings.json", "servers/1290000000000000000.json"])
def test_a_wide_table_breaks_no_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """At 80 columns the last ones are left out and named; the others are whole."""
    monkeypatch.setenv("COLUMNS", "80")
    show({"files": {name: dict(zip(COLUMNS, ROW, strict=True))}})
    said = capsys.readouterr().out
    assert "…" not in said
    assert all(len(line.rstrip()) <= 80 for line in said.splitlines())
    table, _, left_out = said.partition("with --json also: ")
    for word in (name, "valid", "status", "kind", "settings", "bytes", "version"):
        assert word in table
    assert "generations" in left_out
    assert "generations" not in table
