"""A real file system of a few hundred kilobytes, to be filled up; needs the right to mount."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def tiny_disk(path: Path, size: str) -> Iterator[Path]:
    """A disk of this size at `path`; skips the test where this user may not mount one."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    if _fails(command):
        pytest.skip("mounting needs a privilege that this user does not have")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)  # noqa: S603, S607 - as above


@contextmanager
def freezable_disk(path: Path, megabytes: int) -> Iterator[Path]:
    """A disk at `path` that can hang; skips the test where this user may not mount one."""
    image = path.with_name(f"{path.name}.image")
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    path.mkdir()
    for command in (
        ["mkfs.ext4", "-q", str(image)],
        ["mount", "-o", "loop", str(image), str(path)],
    ):
        if _fails(command):
            pytest.skip("mounting needs a privilege that this user does not have")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)  # noqa: S603, S607 - a fixed command


@contextmanager
def frozen(disk: Path) -> Iterator[None]:
    """Let every write to a freezable disk hang."""
    subprocess.run(["fsfreeze", "-f", str(disk)], check=True)  # noqa: S603, S607 - a fixed command
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "-u", str(disk)], check=True)  # noqa: S603, S607 - as above


def _fails(command: list[str]) -> bool:
    try:
        return bool(subprocess.run(command, capture_output=True, check=False).returncode)  # noqa: S603 - fixed commands
    except FileNotFoundError:
        return True


def fill(disk: Path) -> Path:
    """Take all the room there is; the file that holds it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    return filler


def remount(disk: Path, mode: str) -> None:
    """Make it read-only (`ro`) or writable again (`rw`)."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True)  # noqa: S603, S607 - a fixed command
