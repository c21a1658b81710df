"""What systemd is told, read from a real datagram socket as systemd reads it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmbot.adapters.systemd import Systemd


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """Somebody who listens as systemd does."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path)
        listening.settimeout(5)
        yield listening, path


def test_each_message_is_one_datagram(manager: tuple[socket.socket, str]) -> None:
    """Ready, alive and stopping are said in systemd's words, each with one line of status."""
    listening, path = manager
    systemd = Systemd.of({"NOTIFY_SOCKET": path})
    assert systemd.ready("serving")
    assert systemd.alive()
    assert systemd.stopping("asked\nto")
    heard = [listening.recv(1000) for _ in range(3)]
    assert heard == [b"READY=1\nSTATUS=serving", b"WATCHDOG=1", b"STOPPING=1\nSTATUS=asked to"]


def test_an_abstract_socket_is_found() -> None:
    """A name that begins with @ stands in the abstract namespace."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0llmbot-test-notify")
        listening.settimeout(5)
        assert Systemd.of({"NOTIFY_SOCKET": "@llmbot-test-notify"}).say("hello")
        assert listening.recv(1000) == b"STATUS=hello"


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    """No manager, or one that does not listen, is no error."""
    assert not Systemd.of({}).ready()
    assert not Systemd.of({"NOTIFY_SOCKET": "relative"}).ready()
    assert not Systemd.of({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready()


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_ours_or_nobodys(told: dict[str, str], expected: float | None) -> None:
    """The watchdog's time counts where it is meant for this process."""
    assert Systemd.of({"NOTIFY_SOCKET": "/run/notify", **told}, pid=7).watchdog_s == expected
