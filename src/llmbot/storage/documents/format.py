"""How a document stands on the disk: JSON for people, with the proof of its own integrity.

    {
      "_llmbot": {
        "schema": "server",
        "version": 1,
        "savedAt": "2026-11-23T18:22:01.123Z",
        "sha256": "…",
        "crc32": "…"
      },
      "persona": "pirate",
      …
    }

`sha256` proves what is said: the header's other words and the body, however they are laid out.
`crc32` proves the bytes of the file, its own eight digits aside, and serves one purpose: it can
tell a flipped byte from an edit by hand. Where a single byte differs from what was saved, the
checksum says which, and the original comes back; whatever differs in more places and still parses
was written by somebody. Who really wants to change one byte removes the line of `crc32` as well.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

from llmbot.storage.crc import one_wrong_byte

JsonObject = dict[str, Any]
"""The body of a document."""

HEADER = "_llmbot"
_NO_CRC = b"00000000"
_CRC = (
    # By what stands before it, and, should that be hit, by what stands behind it.
    re.compile(rb'"crc32": "([0-9a-f]{8})"'),
    re.compile(rb'([0-9a-f]{8})"\n  \}'),
)
_CRC_NAME = re.compile(rb'"crc32": "')
_HEADER_ROOM = 600
"""The header of a document of ours ends well before this byte."""

_SHOWN_MAX = 60


class State(StrEnum):
    """What a file's bytes prove."""

    PROVEN = "proven"
    """What was saved, and nothing else."""
    FLIPPED = "flipped"
    """One byte differs from what was saved; it is known which."""
    EDITED = "edited"
    """Somebody wrote it by hand: whole JSON, but not what was saved."""
    BROKEN = "broken"
    """Cut, empty, or no document at all."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the header says of a document."""

    schema: str
    version: int
    saved_at_s: float
    """Seconds since the Unix epoch, to the millisecond."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read; `body` and `stamp` are empty where the bytes are broken."""

    state: State
    body: JsonObject
    stamp: Stamp | None
    """None too where whoever edited the file left no header."""
    digest: str
    """The sha256 of what is said; two readings with the same one say the same."""
    problem: str
    """Why it is not proven, in words that quote nothing of it."""
    as_saved: bool
    """Whether the bytes, too, are those that were saved."""


def encode(stamp: Stamp, body: JsonObject) -> bytes:
    """The bytes of a document.

    Raises:
        TypeError: the body holds what JSON cannot say, e.g. half a surrogate pair.
    """
    if HEADER in body:
        raise TypeError(f"a body must not have the key {HEADER}")
    header = {**_words(stamp), "sha256": digest_of(stamp, body), "crc32": _NO_CRC.decode()}
    whole = {HEADER: header, **body}
    data = orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    place = data.index(b'"crc32": "') + len(b'"crc32": "')
    return data[:place] + b"%08x" % zlib.crc32(data) + data[place + 8 :]


def digest_of(stamp: Stamp, body: JsonObject) -> str:
    """What proves a body together with its stamp, whatever the order of its keys."""
    said = orjson.dumps([_words(stamp), body], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(said).hexdigest()


def decode(raw: bytes, *, mend: bool = True) -> Reading:
    """Read bytes and say what they prove; never raises for their sake.

    Without `mend` a single changed byte counts as an edit like any other.
    """
    found = _parse(raw)
    if found.state is State.PROVEN or not mend:
        return found
    for offset, original in _mended(raw):
        proven = _parse(original)
        if proven.state is State.PROVEN:
            problem = f"byte {offset + 1} of {len(raw)} is not what was saved"
            return Reading(
                State.FLIPPED, proven.body, proven.stamp, proven.digest, problem, as_saved=False
            )
    return found


def stamp_text(at_s: float) -> str:
    """A moment as the header spells it."""
    moment = datetime.fromtimestamp(at_s, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def stamp_time(text: str) -> float:
    """The moment that a header spells, in seconds since the Unix epoch.

    Raises:
        ValueError: it is no such moment.
    """
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


def file_time(at_s: float) -> str:
    """A moment as names of files spell it; their order is that of time."""
    moment = datetime.fromtimestamp(at_s, UTC)
    return f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03d}Z"


def time_of_file(text: str) -> float:
    """The moment that a file's name spells, in seconds since the Unix epoch.

    Raises:
        ValueError: it is no such moment.
    """
    moment = datetime.strptime(text[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return moment.timestamp() + int(text[15:18]) / 1000


def _words(stamp: Stamp) -> JsonObject:
    return {
        "schema": stamp.schema,
        "version": stamp.version,
        "savedAt": stamp_text(stamp.saved_at_s),
    }


def _parse(raw: bytes) -> Reading:
    if not raw.strip():
        return _broken("empty")
    try:
        whole = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        # Its message names line and column, and never what stands there.
        return _broken(f"no JSON: {error.msg} at byte {error.pos + 1} of {len(raw)}"[:200])
    if not isinstance(whole, dict):
        return _broken("no JSON object")
    header = whole.pop(HEADER, None)
    stamp = _stamp(header)
    if stamp is None or not isinstance(header, dict):
        return Reading(State.EDITED, whole, None, "", "no header of ours", as_saved=False)
    digest = digest_of(stamp, whole)
    if header.get("sha256") != digest:
        problem = "it differs from what was saved"
        return Reading(State.EDITED, whole, stamp, digest, problem, as_saved=False)
    return Reading(State.PROVEN, whole, stamp, digest, "", as_saved=_crc_fits(raw))


def _stamp(header: object) -> Stamp | None:
    if not isinstance(header, dict):
        return None
    schema, version, saved_at = (header.get(name) for name in ("schema", "version", "savedAt"))
    if not isinstance(schema, str) or len(schema) > _SHOWN_MAX:
        return None
    if not isinstance(version, int) or isinstance(version, bool) or not isinstance(saved_at, str):
        return None
    try:
        return Stamp(schema, version, stamp_time(saved_at))
    except ValueError:
        return None


def _broken(problem: str) -> Reading:
    return Reading(State.BROKEN, {}, None, "", problem, as_saved=False)


# ── the checksum of the bytes, and what it tells of a single wrong one ──────────────────────────


def _crc_fits(raw: bytes) -> bool:
    place = _CRC[0].search(raw, 0, _HEADER_ROOM)
    return place is not None and _crc_without(raw, place) == int(place[1], 16)


def _crc_without(raw: bytes, place: re.Match[bytes]) -> int:
    crc = zlib.crc32(raw[: place.start(1)])
    return zlib.crc32(raw[place.end(1) :], zlib.crc32(_NO_CRC, crc))


def _mended(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Where one wrong byte may stand, and the bytes as they were then."""
    for pattern in _CRC:
        place = pattern.search(raw, 0, _HEADER_ROOM)
        if place is None:
            continue
        found = one_wrong_byte(len(raw), _crc_without(raw, place) ^ int(place[1], 16))
        if found and not place.start(1) <= found[0] < place.end(1):
            offset, wrong = found
            yield offset, raw[:offset] + bytes([raw[offset] ^ wrong]) + raw[offset + 1 :]
    named = _CRC_NAME.search(raw, 0, _HEADER_ROOM)
    if named is not None:
        # The checksum itself may be hit so that it is no string any more; the sha256 decides.
        end = named.end() + len(_NO_CRC)
        yield named.end(), raw[: named.end()] + _NO_CRC + b'"' + raw[end + 1 :]
