"""What operators ask of the documents of a bot that is down, with the answers of one that is up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmbot.console.documents_told import (
    LISTED_MAX,
    check_told,
    files_told,
    recovery_told,
    scan_told,
    version_told,
)
from llmbot.storage.documents.recovery import DocumentShelf

__all__ = ["CHANGING", "alone"]

CHANGING = frozenset({"recover", "backup", "restore"})


def alone(shelf: DocumentShelf, verb: str, name: str, at_s: float | None) -> dict[str, Any]:
    """Do it now, on this thread; what happened on the way is told as `told`.

    Raises:
        UnknownDocumentError: no document has this name.
        NoGenerationError: none is that old, or the present one cannot be kept.
        NewerDocumentError: a newer llmbot wrote it.
        OSError: the disk refused.
    """
    verbs: Mapping[str, Callable[[], dict[str, Any]]] = {
        "validate": lambda: _validate(shelf, name),
        "validate-all": lambda: _validate_all(shelf),
        "status": lambda: _status(shelf),
        "scan": lambda: scan_told(shelf.reader.scan()),
        "versions": lambda: _versions(shelf, name),
        "recover": lambda: recovery_told(shelf.recover(shelf.reader.lookup(name))),
        "backup": lambda: _backup(shelf),
        "restore": lambda: recovery_told(shelf.restore(shelf.reader.lookup(name), at_s or 0.0)),
    }
    found = verbs[verb]()
    events = [event.describe() for event in shelf.writer.events]
    return {**found, "told": events} if events else found


def _validate(shelf: DocumentShelf, name: str) -> dict[str, Any]:
    check = shelf.reader.check(shelf.reader.lookup(name))
    return {"file": check.name, "valid": check.ok, **check_told(check)}


def _validate_all(shelf: DocumentShelf) -> dict[str, Any]:
    refs = shelf.reader.refs()
    checks = {ref.name: shelf.reader.check(ref) for ref in refs}
    return files_told(checks, shelf.reader.strays(set(checks)))


def _status(shelf: DocumentShelf) -> dict[str, Any]:
    refs = shelf.reader.refs()
    checks = {ref.name: shelf.reader.check(ref) for ref in refs[:LISTED_MAX]}
    return files_told(checks, shelf.reader.strays({ref.name for ref in refs}), len(refs))


def _versions(shelf: DocumentShelf, name: str) -> dict[str, Any]:
    ref = shelf.reader.lookup(name)
    return {"file": ref.name, "versions": list(map(version_told, shelf.reader.generations(ref)))}


def _backup(shelf: DocumentShelf) -> dict[str, Any]:
    kept = {ref.name: version_told(shelf.backup(ref)) for ref in shelf.reader.refs()}
    return {"files": kept, "count": len(kept)}
