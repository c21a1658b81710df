"""Copies that nobody manages: searched for a number, and removed where they hold it.

Scripts and people leave copies of documents beside them and in the backups, and a repair leaves the
damaged database; a user who is to be forgotten must not live on in any of them. Files elsewhere in
the data directory belong to other parts of the bot and are left to them.
"""

from __future__ import annotations

import re
from pathlib import Path

from llmbot.storage.atomic import remove
from llmbot.storage.documents.kinds import BACKUPS, QUARANTINE, Kinds
from llmbot.storage.filesystem import FileSystem

READ_MAX = 64 * 1024 * 1024
_DEPTH_MAX = 10
_OLD_DATABASE = re.compile(r".+\.db\.(damaged|rebuilt|partial|bak).*")


def sweep(files: FileSystem, root: Path, kinds: Kinds, number: int) -> int:
    """Remove every copy of a document below `root` that holds a number; how many those were.

    Documents in use are kept. Old copies of the database are removed unread: in them the number has
    no digits to look for.

    Raises:
        OSError: the disk refused.
    """
    digits = re.compile(rb"(?<!\d)%d(?!\d)" % number)
    count = 0
    folders = [(root / folder, _DEPTH_MAX) for folder in kinds.folders]
    folders += [(root / BACKUPS, 0), (root / QUARANTINE, 0)]
    while folders:
        folder, depth = folders.pop()
        try:
            entries = files.list(folder)
        except FileNotFoundError:
            continue
        gone = 0
        for entry in entries:
            path = folder / entry.name
            if entry.is_folder:
                if depth < _DEPTH_MAX:
                    folders.append((path, depth + 1))
            elif _OLD_DATABASE.fullmatch(entry.name) or (
                _is_copy(root, kinds, path) and digits.search(files.read(path, READ_MAX))
            ):
                gone += remove(files, path)
        if gone:
            files.sync_folder(folder)
        count += gone
    return count


def _is_copy(root: Path, kinds: Kinds, path: Path) -> bool:
    """Whether a file is a copy of a document, and none in use."""
    if kinds.find_path(root, path) is not None:
        return False
    return path.parent != root or path.name.startswith(tuple(f"{kind.key}." for kind in kinds.all))
