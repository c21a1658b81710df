"""How drills went, kept beside the data: whoever looks next sees the last tries, whoever ran them.

One line of JSON a try, appended whole; a line that does not parse (a kill came in between) is left
out. Blocks for a small read or write.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import orjson

from llmbot.operations.drills.drills import Verdict

__all__ = ["SCORES_MAX", "keep_score", "read_scores"]

NAME = "drills.jsonl"
SCORES_MAX = 200
_BYTES_MAX = 256 * 1024
"""Far above what so many lines take; then the older half goes."""


def keep_score(data_dir: Path, verdict: Verdict, at_s: float) -> None:
    """Append one try; `at_s` in seconds since the Unix epoch.

    Raises:
        OSError: the disk refused.
    """
    path = data_dir / NAME
    line = {"at": round(at_s, 3), "passed": verdict.passed, **asdict(verdict)}
    if path.exists() and path.stat().st_size > _BYTES_MAX:
        kept = path.read_bytes().splitlines(keepends=True)[-SCORES_MAX:]
        partial = path.with_suffix(".partial")
        partial.write_bytes(b"".join(kept))
        partial.replace(path)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as file:
        file.write(orjson.dumps(line) + b"\n")


def read_scores(data_dir: Path) -> list[Mapping[str, object]]:
    """The last tries, the newest first; none where nobody has tried."""
    try:
        lines = (data_dir / NAME).read_bytes().splitlines()[-SCORES_MAX:]
    except OSError:
        return []
    found: list[Mapping[str, object]] = []
    for line in reversed(lines):
        try:
            told = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(told, dict):
            found.append(told)
    return found
