"""The files that make the page, read once and kept packed."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from importlib.resources import files

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is sent; `tag` changes with its content."""

    content_type: str
    body: bytes
    packed: bytes
    tag: str


def load_assets(package: str) -> dict[str, Asset]:
    """Every file of a known kind beside `package`, by its name.

    Raises:
        FileNotFoundError: the package has no such directory.
    """
    found: dict[str, Asset] = {}
    for entry in files(package).joinpath("static").iterdir():
        content_type = _TYPES.get(entry.name.rpartition(".")[2])
        if content_type is None:
            continue
        body = entry.read_bytes()
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        found[entry.name] = Asset(content_type, body, gzip.compress(body, 9, mtime=0), tag)
    return found
