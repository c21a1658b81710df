"""Which documents there are: their shape, the versions of it, and where each one stands.

A name that comes from outside is looked up here and never joined into a path: what is joined is
the folder of a kind and a key that was matched against the kind's pattern.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from llmbot.kernel.errors import DefectError, RefusedError
from llmbot.storage.documents.format import JsonObject

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
Place = tuple[str | int, ...]
Step = Callable[[JsonObject], JsonObject]

BACKUPS = "backups"
QUARANTINE = "quarantine"
RESERVED = frozenset({BACKUPS, QUARANTINE})
"""Folders of the store's own below its root; no kind may have them."""

SUFFIX = ".json"
BAK = ".bak"
_PROBLEMS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Problem:
    """A place in a body that does not fit; the words quote nothing of it."""

    place: Place
    words: str

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.place)) or 'the whole'}: {self.words}"


class MisfitError(ValueError):
    """A body does not fit its kind."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Take all that does not fit."""
        self.problems = tuple(problems)
        shown = [str(problem) for problem in problems[:_PROBLEMS_SHOWN]]
        more = len(problems) - len(shown)
        super().__init__("; ".join(shown) + (f"; and {more} more" if more > 0 else ""))


class UnknownDocumentError(RefusedError):
    """No document has this name."""

    code = "unknown_document"

    def __init__(self, known: Sequence[str]) -> None:
        """Take the names that exist, or the first of them."""
        super().__init__("No document has this name.")
        self.known = tuple(known)


class NewerDocumentError(RefusedError):
    """The document was written by a newer llmbot; it is left alone."""

    code = "newer_document"
    remedy = "Run that version, or restore an older generation: `llmbot data restore NAME --at`."


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A kind of document.

    `load` makes a value of a body and raises MisfitError; `dump` makes the body of a value, whose
    numbers beyond 2**53 must be strings, because `jq` would round them. `migrations` lead from one
    version of the shape to the next. Where `folder` is empty there is one document, called `key`.
    """

    name: str
    load: Callable[[JsonObject], T]
    dump: Callable[[T], JsonObject]
    default: Callable[[], T]
    folder: str = ""
    key: str = r"\d{1,20}"
    version: int = 1
    migrations: Mapping[int, Step] = field(default_factory=dict)
    bytes_max: int = 1024 * 1024
    generations_max: int = 8
    generation_every_s: float = 600.0
    """Versions that follow each other faster are not all kept; `.bak` always holds the last.

    With 0 each version is kept as soon as it is saved, so that no edit by hand can be its end."""
    generation_age_max_s: float = timedelta(days=30).total_seconds()

    def ref(self, key: str | int) -> Ref[T]:
        """The document of this kind with this key.

        Raises:
            DefectError: no document can have such a key.
        """
        text = str(key)
        if re.fullmatch(self.key, text, re.ASCII) is None:
            raise DefectError(f"no {self.name} can have such a key")
        return Ref(self, text)

    def migrated(self, version: int, body: JsonObject) -> JsonObject:
        """A body of an older version as the present one wants it.

        Raises:
            NewerDocumentError: it is of a version that is not known yet.
            MisfitError: it does not even fit its own version.
        """
        if version > self.version:
            raise NewerDocumentError(
                f"It has version {version} of its shape, and {self.version} is the newest known."
            )
        for step in range(version, self.version):
            migrate = self.migrations.get(step)
            if migrate is None:
                raise MisfitError([Problem((), f"version {step} of its shape is too old")])
            try:
                body = migrate(dict(body))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                words = f"not of version {step} ({type(error).__name__})"
                raise MisfitError([Problem((), words)]) from None
        return body

    def fitted(self, body: JsonObject) -> T:
        """The value of a body.

        Raises:
            MisfitError: it does not fit.
        """
        try:
            return self.load(body)
        except MisfitError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MisfitError([Problem((), f"not understood ({type(error).__name__})")]) from None


@dataclass(frozen=True, slots=True)
class Ref(Generic[T]):
    """One document; made by `Kind.ref` and `Kinds.find` only, which check the key."""

    kind: Kind[T]
    key: str

    @property
    def folder(self) -> PurePosixPath:
        """Its folder below the root of the store."""
        return PurePosixPath(self.kind.folder)

    @property
    def file_name(self) -> str:
        """Its name in its folder."""
        return f"{self.key}{SUFFIX}"

    @property
    def name(self) -> str:
        """Its name as operators type it: the path below the root of the store."""
        # Asked for thousands of times a minute: no path is made of it.
        return f"{self.kind.folder}/{self.file_name}" if self.kind.folder else self.file_name


class Kinds:
    """The table of kinds."""

    def __init__(self, kinds: Iterable[Kind[Any]]) -> None:
        """Take all kinds.

        Raises:
            DefectError: two of them could have a document of the same name.
        """
        self._by_folder: dict[str, list[Kind[Any]]] = {}
        for kind in kinds:
            if kind.folder.partition("/")[0] in RESERVED:
                raise DefectError(f"{kind.folder} is the store's own")
            others = self._by_folder.setdefault(kind.folder, [])
            if kind.folder and others:
                raise DefectError(f"two kinds of documents in {kind.folder}")
            others.append(kind)

    @property
    def all(self) -> tuple[Kind[Any], ...]:
        """Every kind."""
        return tuple(kind for kinds in self._by_folder.values() for kind in kinds)

    @property
    def folders(self) -> tuple[str, ...]:
        """Every folder in which documents stand."""
        return tuple(self._by_folder)

    def find_path(self, root: Path, path: Path) -> Ref[Any] | None:
        """The document that stands at a path below `root`."""
        try:
            return self.find(path.relative_to(root).as_posix())
        except ValueError:
            return None

    def find(self, name: str) -> Ref[Any] | None:
        """The document that would have this name, whether it is there or not."""
        folder, _, file_name = name.rpartition("/")
        if not file_name.endswith(SUFFIX):
            return None
        key = file_name.removesuffix(SUFFIX)
        for kind in self._by_folder.get(folder, ()):
            if re.fullmatch(kind.key, key, re.ASCII) is not None:
                return Ref(kind, key)
        return None


def model_kind(name: str, model: type[M], **more: Any) -> Kind[M]:
    """A kind whose shape is a pydantic model; it is spelled by the model's aliases."""

    def load(body: JsonObject) -> M:
        try:
            return model.model_validate(body)
        except ValidationError as error:
            raise MisfitError(problems_of(error)) from None

    def dump(value: M) -> JsonObject:
        return value.model_dump(mode="json", by_alias=True)

    return Kind(name, load, dump, model, **more)


def problems_of(error: ValidationError) -> list[Problem]:
    """What pydantic found wrong, without the values."""
    return [
        Problem(tuple(found["loc"]), found["msg"])
        for found in error.errors(include_url=False, include_context=False, include_input=False)
    ]
