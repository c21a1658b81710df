"""What a CRC-32 tells of a single wrong byte: where it stands, and what it was.

CRC-32 is linear: the difference of two checksums depends on the difference of the bytes alone. A
single wrong byte contributes one row of the table, moved on by a step for each byte behind it; so
the difference is moved back, step by step, until it is a row.
"""

from __future__ import annotations


def _table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        rest = byte
        for _ in range(8):
            rest = (rest >> 1) ^ (0xEDB88320 if rest & 1 else 0)
        rows.append(rest)
    return tuple(rows)


_STEPS = _table()
_OF_ONE_BYTE = {step: byte for byte, step in enumerate(_STEPS)}
_BY_TOP = {step >> 24: byte for byte, step in enumerate(_STEPS)}
"""The top bytes of the table differ from each other, so that a step can be taken back."""


def one_wrong_byte(length: int, difference: int) -> tuple[int, int] | None:
    """The place of the only wrong byte among so many, and what to xor it with; None if none fits.

    `difference` is the checksum of the bytes as they are, xor that of the bytes as they were.
    """
    rest = difference
    for place in range(length - 1, -1, -1):
        wrong = _OF_ONE_BYTE.get(rest)
        if wrong:
            return place, wrong
        row = _BY_TOP[rest >> 24]
        rest = ((rest ^ _STEPS[row]) << 8 | row) & 0xFFFFFFFF
    return None
