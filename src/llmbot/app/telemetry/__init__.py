"""The log: what it listens to, and how its lines look."""

from __future__ import annotations

import sys


def _load_structlog() -> None:
    """Load it without rich, which it would take along for tracebacks that are never shown here.

    That costs each start 4 % of its imports, and the process 3 MiB.
    """
    rich_is_there = "rich" in sys.modules
    if not rich_is_there:
        sys.modules["rich"] = None  # type: ignore[assignment] # an import of it finds nothing
    import structlog  # noqa: F401, PLC0415 - see above

    if not rich_is_there:
        del sys.modules["rich"]


_load_structlog()
