"""The files that make the page, read once at the start and kept packed."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template

__all__ = ["Asset", "fill_in", "load_assets"]

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


def load_assets() -> dict[str, Asset]:
    """Every file of a known kind in `static/`, by its name. Blocks for some milliseconds."""
    found: dict[str, Asset] = {}
    for entry in files(__package__ or "").joinpath("static").iterdir():
        content_type = _TYPES.get(entry.name.rpartition(".")[2])
        if content_type is None:
            continue
        body = entry.read_bytes()
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        found[entry.name] = Asset(content_type, body, gzip.compress(body, 9, mtime=0), tag)
    return found


def fill_in(template: Asset, values: Mapping[str, str]) -> bytes:
    """A template with its `$names` filled in, each made safe for HTML.

    Raises:
        KeyError: the template names a value that is not given.
    """
    safe = {name: escape(value) for name, value in values.items()}
    return Template(template.body.decode()).substitute(safe).encode()
