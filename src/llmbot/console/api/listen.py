"""A port to listen on, taken before anything else is started, so that a taken one is known."""

from __future__ import annotations

import errno
import socket

from llmbot.kernel.errors import PortTakenError, SettingsError

BACKLOG = 512


def listen_on(host: str, port: int) -> socket.socket:
    """A socket that listens on this address.

    Raises:
        PortTakenError: something else listens there.
        SettingsError: the address is none of this machine, or may not be used.
    """
    # The runbook calls it by both names; only this address answers to both everywhere.
    host = "127.0.0.1" if host == "localhost" else host
    try:
        kind, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(kind, socket.SOCK_STREAM)
    except OSError as error:
        raise SettingsError(f"HTTP_HOST {host} is no address of this machine ({error}).") from None
    try:
        # A port that a process of ours has just left may be taken at once; one in use may not.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(place)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(f"Port {port} on {host} is taken by another program.") from None
        words = f"HTTP_HOST {host} and HTTP_PORT {port} cannot be used ({error.strerror})."
        raise SettingsError(words) from None
    bound.setblocking(False)
    return bound
