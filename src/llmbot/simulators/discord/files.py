"""The bytes of attachments, as Discord's file host keeps them, within a bound."""

from __future__ import annotations

import struct
from collections import OrderedDict

_PNG = b"\x89PNG\r\n\x1a\n"
_GIF = (b"GIF87a", b"GIF89a")
_PNG_HEADER = 24
_GIF_HEADER = 10


class FileStore:
    """Keeps files by id; the oldest is forgotten when there are too many bytes."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._files: OrderedDict[int, tuple[str, bytes]] = OrderedDict()
        self._bytes = 0

    def put(self, file_id: int, content_type: str, data: bytes) -> None:
        """Keep a file."""
        self._files[file_id] = (content_type, data)
        self._bytes += len(data)
        while self._bytes > self._bytes_max and len(self._files) > 1:
            oldest = next(iter(self._files))
            self._bytes -= len(self._files.pop(oldest)[1])

    def get(self, file_id: int) -> tuple[str, bytes] | None:
        """Return content type and bytes of a file that is still kept."""
        return self._files.get(file_id)


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a PNG or GIF; None for anything else."""
    if data.startswith(_PNG) and len(data) >= _PNG_HEADER:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data.startswith(_GIF) and len(data) >= _GIF_HEADER:
        width, height = struct.unpack("<HH", data[6:10])
        return width, height
    return None
