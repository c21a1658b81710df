"""Who may do what: three roles, and the caller that the gate has recognised."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["LOOPBACK", "Caller", "Role"]


class Role(IntEnum):
    """Each may do what the ones before it may."""

    VIEWER = 1
    """Look at everything that is shown."""
    OPERATOR = 2
    """Mend: what interrupts nobody, or only for a moment, and can be undone."""
    ADMIN = 3
    """Also what stops the bot or a part of it, or takes something away for good."""

    @property
    def label(self) -> str:
        """The role as people write it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as it stands in the audit, and over what."""

    name: str
    role: Role
    via: str = "api"


LOOPBACK = Caller("loopback", Role.ADMIN)
"""Who calls from this machine while no token is set."""
