"""What is told of documents: the same words from the API and from a command with the bot down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from llmbot.console.facts.facts import moment
from llmbot.storage.database.backups import DatabaseCopy
from llmbot.storage.documents.facts import (
    DocumentCheck,
    Generation,
    Recovery,
    Scan,
    Source,
    Stray,
)

__all__ = [
    "LISTED_MAX",
    "check_told",
    "database_copy_told",
    "files_told",
    "recovery_told",
    "scan_told",
    "version_told",
]

MISSING_SHOWN_MAX = 50
LISTED_MAX = 500
"""Documents in a list that is only looked at; `validate-all` goes through all of them."""


def check_told(check: DocumentCheck) -> dict[str, object]:
    """One document."""
    return {
        "status": str(check.status),
        "problem": check.problem,
        "kind": check.kind,
        "bytes": check.bytes,
        "version": check.version,
        "savedAt": moment(check.saved_at_s),
        "backup": str(check.bak),
        "generations": check.generations,
    }


def files_told(
    checks: Mapping[str, DocumentCheck], strays: Iterable[Stray] = (), count: int | None = None
) -> dict[str, object]:
    """Documents, and other files that call themselves JSON; `count` where some are left out."""
    others = {stray.file: stray.parses for stray in strays}
    return {
        "valid": all(check.ok for check in checks.values()) and all(others.values()),
        "count": len(checks) if count is None else count,
        "files": {name: {"valid": check.ok, **check_told(check)} for name, check in checks.items()},
        "otherFiles": others,
    }


def scan_told(scan: Scan) -> dict[str, object]:
    """Everything, older versions included."""
    return {
        **files_told({check.name: check for check in scan.documents}, scan.strays),
        "generations": scan.generations,
        "generationsBad": list(scan.generations_bad),
        "quarantined": scan.quarantined,
        "bytes": scan.bytes,
    }


def version_told(version: Generation) -> dict[str, object]:
    """One older version."""
    return {
        "file": version.file,
        "savedAt": moment(version.saved_at_s),
        "status": str(version.status),
        "bytes": version.bytes,
    }


def database_copy_told(copy: DatabaseCopy) -> dict[str, object]:
    """One copy of the database."""
    return {
        "file": f"backups/{copy.path.name}",
        "savedAt": moment(copy.saved_at_s),
        "status": "valid",
        "bytes": copy.bytes,
    }


def recovery_told(recovery: Recovery) -> dict[str, object]:
    """What became of a document that was mended or brought back, as it was read again."""
    return {
        "file": recovery.name,
        "source": str(recovery.source),
        "restoredFrom": recovery.file,
        "savedAt": moment(recovery.saved_at_s),
        "missing": list(recovery.missing[:MISSING_SHOWN_MAX]),
        "missingCount": len(recovery.missing),
        "lost": recovery.source is Source.FRESH,
        "quarantined": recovery.quarantined,
        "valid": recovery.after.ok,
    }
