"""Telling systemd how it goes: ready, still alive, stopping; nothing where systemd is not there.

Source: sd_notify(3) and sd_watchdog_enabled(3): one datagram for each message to the socket that
NOTIFY_SOCKET names (`@` stands for a name in the abstract namespace); WATCHDOG_USEC is the time
within which `WATCHDOG=1` must come, where WATCHDOG_PID names this process or nobody.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Systemd"]

_STATUS_MAX = 200


@dataclass(frozen=True, slots=True)
class Systemd:
    """The service manager, if there is one."""

    address: str = ""
    watchdog_s: float | None = None
    """Within so many seconds it wants a sign of life; None where it wants none."""

    @classmethod
    def of(cls, environment: Mapping[str, str], pid: int | None = None) -> Systemd:
        """What the environment says of it."""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return cls()
        return cls(address, _watchdog_s(environment, os.getpid() if pid is None else pid))

    def ready(self, status: str = "") -> bool:
        """The service has started."""
        return self._tell("READY=1", status)

    def alive(self, status: str = "") -> bool:
        """The service makes progress."""
        return self._tell("WATCHDOG=1", status)

    def stopping(self, status: str = "") -> bool:
        """The service ends because it was asked to."""
        return self._tell("STOPPING=1", status)

    def say(self, status: str) -> bool:
        """One line for `systemctl status`."""
        return self._tell("", status)

    def _tell(self, state: str, status: str) -> bool:
        """Send one datagram, without waiting; whether it went out."""
        if not self.address:
            return False
        line = " ".join(status.split())[:_STATUS_MAX]
        lines = [part for part in (state, f"STATUS={line}" if line else "") if part]
        name = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as way:
                way.setblocking(False)
                way.sendto("\n".join(lines).encode(), name)
        except OSError:
            return False  # a manager that does not listen must not stop the service
        return True


def _watchdog_s(environment: Mapping[str, str], pid: int) -> float | None:
    micros, owner = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not micros.isdigit() or int(micros) <= 0 or (owner and owner != str(pid)):
        return None
    return int(micros) / 1_000_000
