"""Identifiers: who runs (boot and owner), which message (snowflake), which part (nonce)."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

DISCORD_EPOCH_MS = 1_420_070_400_000
"""First millisecond of 2015, Discord's zero. Source: Discord API reference, "Snowflakes"."""

NONCE_LENGTH_MAX = 25
"""Discord refuses longer nonces. Source: Discord API reference, "Create Message"."""


def snowflake_time(snowflake: int) -> float:
    """When Discord made this id, in seconds since the Unix epoch."""
    return ((snowflake >> 22) + DISCORD_EPOCH_MS) / 1000


def snowflake_at(wall_s: float) -> int:
    """The smallest id that Discord could have made at this time; for comparing and paging."""
    return max(0, (int(wall_s * 1000) - DISCORD_EPOCH_MS) << 22)


def part_nonce(message_id: int, part: int, instead_of: int = 0) -> str:
    """The nonce of one part of the reply to one message; the same whenever it is asked for.

    Sending a part again with this nonce gives back the message that is there already, as long as
    Discord remembers it. What is sent `instead_of` a message that was deleted has a nonce made of
    its id: any life that knows it to be gone asks for the same successor, and never for itself.
    At most 25 characters: a 64-bit id needs 16 hexadecimal digits, a mark of the other one five.
    """
    nonce = f"{message_id:x}-{part:x}"
    if instead_of:
        # When it was made, to the millisecond, and its number within that.
        nonce += f"-{(instead_of >> 22 ^ instead_of) & 0xFFFFF:x}"
    if len(nonce) > NONCE_LENGTH_MAX:
        raise ValueError(f"message id {message_id} or part {part} is too large for a nonce")
    return nonce


@dataclass(frozen=True, slots=True)
class Owner:
    """One life of one process; leases carry it, so that a dead owner's leases are known as such."""

    boot_id: str
    pid: int
    token: str

    def __str__(self) -> str:
        return f"{self.boot_id[:8]}-{self.pid}-{self.token}"


def this_owner(boot_id_file: Path = Path("/proc/sys/kernel/random/boot_id")) -> Owner:
    """The identity of this process's life: machine boot, process id and a random token."""
    try:
        boot_id = boot_id_file.read_text(encoding="ascii").strip()
    except OSError:
        # Not Linux: the random token alone tells lives apart, the boot id only explains them.
        boot_id = "unknown"
    return Owner(boot_id=boot_id, pid=os.getpid(), token=secrets.token_hex(4))


def new_id(prefix: str) -> str:
    """A short random identifier for an audit record, an incident or a run."""
    return f"{prefix}-{secrets.token_hex(6)}"
