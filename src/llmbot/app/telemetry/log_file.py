"""The file of the log: rotated by size, and written anew where somebody moved or removed it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

__all__ = ["LogFile"]


class LogFile(RotatingFileHandler):
    """Never raises: `failed` is told in words why a line did not reach the disk."""

    def __init__(
        self, path: Path, bytes_max: int, files_max: int, failed: Callable[[str], None]
    ) -> None:
        """Nothing is opened before the first line."""
        super().__init__(
            path,
            maxBytes=bytes_max,
            backupCount=files_max,
            encoding="utf-8",
            errors="replace",
            delay=True,
        )
        self.setFormatter(logging.Formatter("%(message)s"))
        self._path = path
        self._failed = failed
        self._opened = (0, 0)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, to the file that has the name now."""
        try:
            self._follow()
        except OSError:
            self.handleError(record)
        else:
            super().emit(record)

    def trouble(self) -> str:
        """Why the file cannot be opened now; empty where it can."""
        try:
            self._follow()
            if self.stream is None:
                self.stream = self._open()
        except OSError as error:
            return str(error)
        return ""

    def _open(self) -> TextIOWrapper:
        """Open the file, and remember which one it is: each line asks."""
        stream = super()._open()
        known = os.fstat(stream.fileno())
        self._opened = (known.st_dev, known.st_ino)
        return stream

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's names
        """Called inside the `except` of whatever went wrong; logging's own prints to stderr."""
        self._failed(str(sys.exc_info()[1]))

    def _follow(self) -> None:
        """Leave a file that was moved or removed: what is written there is read by nobody."""
        try:
            known = self._path.stat()
        except FileNotFoundError:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            known = None
        if self.stream is not None and (
            known is None or (known.st_dev, known.st_ino) != self._opened
        ):
            stream, self.stream = self.stream, None
            stream.close()
