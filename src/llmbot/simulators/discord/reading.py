"""Reads what a client sends: JSON, or a form of JSON and files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import BodyPartReader, MultipartReader, web

from llmbot.simulators.discord.errors import ApiError, invalid_form, leaf

_FILES_MAX = 10
_JSON_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it was sent; `index` is the n of its field `files[n]`."""

    index: int
    filename: str
    content_type: str
    data: bytes


async def read_body(request: web.Request, file_bytes_max: int) -> tuple[Any, tuple[Upload, ...]]:
    """Return the JSON of a request (None where there is none) and its files.

    Raises:
        ApiError: JSON that cannot be parsed (50109), another content type, or too many bytes.
    """
    if request.method in ("GET", "DELETE") or not request.body_exists:
        return None, ()
    kind = request.content_type
    try:
        if kind == "application/json":
            data = await request.read()
            return _parse(data) if data else None, ()
        if kind == "multipart/form-data":
            return await _read_form(await request.multipart(), file_bytes_max)
    except web.HTTPRequestEntityTooLarge:
        raise _too_large() from None
    if not await request.read():
        return None, ()
    words = "Expected \"Content-Type\" header to be one of {'application/json'}."
    raise invalid_form(leaf("CONTENT_TYPE_INVALID", words))


async def _read_form(form: MultipartReader, file_bytes_max: int) -> tuple[Any, tuple[Upload, ...]]:
    body: Any = None
    fields: dict[str, Any] = {}
    uploads: list[Upload] = []
    while (part := await form.next()) is not None:
        if not isinstance(part, BodyPartReader) or part.name is None:
            raise ApiError(400, 50035, "Invalid Form Body")
        if part.filename is not None:
            if len(uploads) >= _FILES_MAX:
                raise ApiError(
                    400, 30015, "Maximum number of attachments in a message reached (10)"
                )
            data = await _read_part(part, file_bytes_max)
            kind = part.headers.get("Content-Type", "application/octet-stream")
            index = _index_of(part.name, len(uploads))
            uploads.append(Upload(index, part.filename, kind, data))
        elif part.name == "payload_json":
            body = _parse(await _read_part(part, _JSON_BYTES_MAX))
        else:
            fields[part.name] = (await _read_part(part, _JSON_BYTES_MAX)).decode()
    return (fields or None) if body is None else body, tuple(uploads)


async def _read_part(part: BodyPartReader, bytes_max: int) -> bytes:
    data = bytearray()
    while chunk := await part.read_chunk(65_536):
        data += chunk
        if len(data) > bytes_max:
            raise _too_large()
    return bytes(data)


def _parse(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        raise ApiError(400, 50109, "The request body contains invalid JSON.") from None


def _index_of(name: str, count: int) -> int:
    """Return n of `files[n]` or `filen`; the count so far for a field just called `file`."""
    digits = "".join(character for character in name if character.isdecimal())
    return int(digits) if digits else count


def _too_large() -> ApiError:
    return ApiError(413, 40005, "Request entity too large")
