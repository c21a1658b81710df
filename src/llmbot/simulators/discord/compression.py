"""How gateway frames are packed: as text, in one zlib stream, or in one Zstandard stream."""

from __future__ import annotations

import zlib
from collections.abc import Callable

Packer = Callable[[bytes], bytes]

# Little effort: the frames never leave the machine, and the simulator must not be the slow part.
_ZLIB_LEVEL = 1
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# Frame header: no content size, no checksum, no dictionary; then a window of 2 MiB.
_ZSTD_HEADER = _ZSTD_MAGIC + b"\x00" + bytes([11 << 3])
_ZSTD_BLOCK_MAX = 128 * 1024


class ZlibStream:
    """One zlib stream for a connection; each frame ends with a sync flush, as Discord's do."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(_ZLIB_LEVEL)

    def pack(self, frame: bytes) -> bytes:
        """Return the bytes of one binary frame."""
        return self._deflate.compress(frame) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


class ZstdStream:
    """One Zstandard stream for a connection, made of raw blocks (RFC 8878, section 3.1.1.2).

    Raw blocks are legal Zstandard that any decoder reads; they need no library, which
    Python has only from 3.14 on, and they compress nothing, which a loopback does not miss.
    """

    def __init__(self) -> None:
        self._begun = False

    def pack(self, frame: bytes) -> bytes:
        """Return the bytes of one binary frame."""
        parts = [] if self._begun else [_ZSTD_HEADER]
        self._begun = True
        for start in range(0, len(frame), _ZSTD_BLOCK_MAX):
            block = frame[start : start + _ZSTD_BLOCK_MAX]
            # Block header: last-block flag 0, type 0 (raw), then the size, little-endian.
            parts.append((len(block) << 3).to_bytes(3, "little"))
            parts.append(block)
        return b"".join(parts)


def packer_for(compress: str | None) -> Packer | None:
    """Return the packer that a client asked for by `compress=`; None for plain text.

    Raises:
        ValueError: no such compression.
    """
    if compress is None:
        return None
    if compress == "zlib-stream":
        return ZlibStream().pack
    if compress == "zstd-stream":
        return ZstdStream().pack
    raise ValueError("compress is zlib-stream or zstd-stream")
