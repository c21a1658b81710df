"""A disk in memory that can lose, after a power cut, whatever the rules let a disk lose.

The rules, as strict as they can be read: the content of a file is safe once it was synced, before
that any beginning of it may be there; of the changes to a folder's names since its last sync any
subset may be there, each whole (a rename is one change); a folder is safe once its parent was
synced. `after_power_cut` enumerates every such state as a disk of its own.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations, product
from pathlib import Path
from typing import TypeVar

from llmbot.storage.filesystem import Entry, FileFacts, FileSystem, Space

T = TypeVar("T")


@dataclass(eq=False)
class _File:
    number: int
    data: bytes = b""
    synced: bool = False


@dataclass(eq=False)
class _Folder:
    number: int
    names: dict[str, _File | _Folder] = field(default_factory=dict)
    durable: dict[str, _File | _Folder] = field(default_factory=dict)
    changes: list[tuple[tuple[str, _File | _Folder | None], ...]] = field(default_factory=list)
    """Since the last sync; each sets names to what they stand for then, or to nothing."""

    def change(self, *sets: tuple[str, _File | _Folder | None]) -> None:
        self.changes.append(sets)
        _apply(self.names, sets)


def _apply(
    names: dict[str, _File | _Folder], sets: tuple[tuple[str, _File | _Folder | None], ...]
) -> None:
    for name, node in sets:
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def _refusal(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))


class SimulatedDisk:
    """See the module's docstring; fulfils `FileSystem`."""

    def __init__(self, free_bytes: int = 10**12) -> None:
        self._root = _Folder(0)
        self._numbers = 0
        self._open: dict[int, _File] = {}
        self.free_bytes = free_bytes

    # ── FileSystem ──────────────────────────────────────────────────────────────────────────────

    def read(self, path: Path, bytes_max: int) -> bytes:
        return self._file(path).data[: bytes_max + 1]

    def create(self, path: Path) -> int:
        folder = self._folder(path.parent)
        if path.name in folder.names:
            raise FileExistsError(errno.EEXIST, "exists", str(path))
        file = _File(self._number())
        folder.change((path.name, file))
        self._open[file.number] = file
        return file.number

    def write(self, descriptor: int, data: bytes) -> None:
        if len(data) > self.free_bytes:
            file = self._open[descriptor]
            file.data += data[: self.free_bytes]
            self.free_bytes = 0
            raise OSError(errno.ENOSPC, "no space")
        self.free_bytes -= len(data)
        file = self._open[descriptor]
        file.data, file.synced = file.data + data, False

    def sync(self, descriptor: int) -> None:
        self._open[descriptor].synced = True

    def close(self, descriptor: int) -> None:
        del self._open[descriptor]

    def link(self, source: Path, target: Path) -> None:
        folder = self._folder(target.parent)
        if target.name in folder.names:
            raise FileExistsError(errno.EEXIST, "exists", str(target))
        folder.change((target.name, self._file(source)))

    def rename(self, source: Path, target: Path) -> None:
        file, before, after = self._file(source), source.parent, target.parent
        if self._folder(after).names.get(target.name) is file:
            return  # POSIX: two names of one file stay as they are
        if before == after:
            self._folder(before).change((target.name, file), (source.name, None))
        else:
            self._folder(after).change((target.name, file))
            self._folder(before).change((source.name, None))

    def unlink(self, path: Path) -> None:
        self.free_bytes += len(self._file(path).data)
        self._folder(path.parent).change((path.name, None))

    def make_folder(self, path: Path) -> None:
        parent = self._folder(path.parent)
        if path.name in parent.names:
            raise FileExistsError(errno.EEXIST, "exists", str(path))
        parent.change((path.name, _Folder(self._number())))

    def sync_folder(self, path: Path) -> None:
        folder = self._folder(path)
        folder.durable = dict(folder.names)
        folder.changes.clear()

    def list(self, path: Path) -> list[Entry]:
        names = self._folder(path).names
        return [Entry(name, isinstance(node, _Folder)) for name, node in sorted(names.items())]

    def facts(self, path: Path) -> FileFacts:
        file = self._file(path)
        return FileFacts(file.number, len(file.data), 0)

    def space(self, path: Path) -> Space:
        del path
        return Space(self.free_bytes, 10**12)

    # ── the power cut ───────────────────────────────────────────────────────────────────────────

    def after_power_cut(self) -> Iterator[SimulatedDisk]:
        """Every state that the disk may be in when the power comes back."""
        for root in _folder_states(self._root):
            disk = SimulatedDisk(self.free_bytes)
            disk._root = root
            disk._numbers = 10**6
            yield disk

    def settled(self) -> SimulatedDisk:
        """The same disk after a kill: what was written is there, synced or not."""
        disk = SimulatedDisk(self.free_bytes)
        disk._root = _as_is(self._root)
        disk._numbers = 10**6
        return disk

    def files(self) -> dict[str, bytes]:
        """The content of every file, by its path."""
        return dict(_walk(self._root, Path("/")))

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _node(self, path: Path) -> _File | _Folder:
        node: _File | _Folder = self._root
        for step in path.parts[1:]:
            if not isinstance(node, _Folder):
                raise NotADirectoryError(errno.ENOTDIR, "no folder", str(path))
            if step not in node.names:
                raise FileNotFoundError(errno.ENOENT, "not there", str(path))
            node = node.names[step]
        return node

    def _folder(self, path: Path) -> _Folder:
        node = self._node(path)
        if not isinstance(node, _Folder):
            raise _refusal(errno.ENOTDIR, path)
        return node

    def _file(self, path: Path) -> _File:
        node = self._node(path)
        if not isinstance(node, _File):
            raise _refusal(errno.EISDIR, path)
        return node


def _folder_states(folder: _Folder) -> Iterator[_Folder]:
    for names in _name_states(folder):
        choices: list[list[tuple[str, _File | _Folder]]] = []
        for name, node in names.items():
            states: Iterator[_File | _Folder]
            states = _folder_states(node) if isinstance(node, _Folder) else _file_states(node)
            choices.append([(name, state) for state in states])
        for chosen in product(*choices):
            state = _Folder(folder.number)
            state.names = dict(chosen)
            state.durable = dict(chosen)
            yield state


def _name_states(folder: _Folder) -> Iterator[dict[str, _File | _Folder]]:
    seen = []
    numbers = range(len(folder.changes))
    for count in range(len(folder.changes) + 1):
        for chosen in combinations(numbers, count):
            names = dict(folder.durable)
            for number in chosen:
                _apply(names, folder.changes[number])
            if names not in seen:
                seen.append(names)
                yield names


def _file_states(file: _File) -> Iterator[_File]:
    lengths = {len(file.data)}
    if not file.synced:
        lengths |= {0, 1, len(file.data) // 2, max(0, len(file.data) - 1)}
    for length in sorted(lengths):
        yield _File(file.number, file.data[:length], synced=True)


def _as_is(folder: _Folder) -> _Folder:
    state = _Folder(folder.number)
    for name, node in folder.names.items():
        copy: _File | _Folder
        copy = (
            _as_is(node)
            if isinstance(node, _Folder)
            else _File(node.number, node.data, synced=True)
        )
        state.names[name] = state.durable[name] = copy
    return state


def _walk(folder: _Folder, path: Path) -> Iterator[tuple[str, bytes]]:
    for name, node in sorted(folder.names.items()):
        if isinstance(node, _Folder):
            yield from _walk(node, path / name)
        else:
            yield str(path / name), node.data


class WatchedDisk:
    """Stands before a disk: counts each call, tells it, and refuses when told to.

    `before` is asked with the number and the name of each call; what it raises is the refusal.
    `done` hears of each call that had its effect. A descriptor whose sync was refused must never be
    written or synced again.
    """

    def __init__(self, disk: FileSystem) -> None:
        self.disk = disk
        self.calls: list[str] = []
        self.before: Callable[[int, str], None] = lambda _number, _name: None
        self.done: Callable[[int, str], None] = lambda _number, _name: None
        self.room: Space | None = None
        """What the disk says of its room, where that is to differ from the truth."""
        self._distrusted: set[int] = set()

    def _call(self, name: str, work: Callable[[], T]) -> T:
        number = len(self.calls)
        self.calls.append(name)
        self.before(number, name)
        result = work()
        self.done(number, name)
        return result

    def read(self, path: Path, bytes_max: int) -> bytes:
        return self._call("read", lambda: self.disk.read(path, bytes_max))

    def create(self, path: Path) -> int:
        return self._call("create", lambda: self.disk.create(path))

    def write(self, descriptor: int, data: bytes) -> None:
        assert descriptor not in self._distrusted
        self._call("write", lambda: self.disk.write(descriptor, data))

    def sync(self, descriptor: int) -> None:
        assert descriptor not in self._distrusted
        try:
            self._call("sync", lambda: self.disk.sync(descriptor))
        except OSError:
            self._distrusted.add(descriptor)
            raise

    def close(self, descriptor: int) -> None:
        # A close that fails has closed all the same; it is never the law under test.
        self.disk.close(descriptor)

    def link(self, source: Path, target: Path) -> None:
        self._call("link", lambda: self.disk.link(source, target))

    def rename(self, source: Path, target: Path) -> None:
        self._call("rename", lambda: self.disk.rename(source, target))

    def unlink(self, path: Path) -> None:
        self._call("unlink", lambda: self.disk.unlink(path))

    def make_folder(self, path: Path) -> None:
        self._call("make_folder", lambda: self.disk.make_folder(path))

    def sync_folder(self, path: Path) -> None:
        self._call("sync_folder", lambda: self.disk.sync_folder(path))

    def list(self, path: Path) -> list[Entry]:
        return self._call("list", lambda: self.disk.list(path))

    def facts(self, path: Path) -> FileFacts:
        return self._call("facts", lambda: self.disk.facts(path))

    def space(self, path: Path) -> Space:
        return self._call("space", lambda: self.room or self.disk.space(path))


def refuse_all_from(disk: WatchedDisk, first: int, number: int, last: int | None = None) -> None:
    """Let every call from the `first` on fail with errno `number`, up to `last`."""

    def before(call: int, name: str) -> None:
        if call >= first and (last is None or call <= last):
            raise OSError(number, f"{os.strerror(number)} ({name})")

    disk.before = before
