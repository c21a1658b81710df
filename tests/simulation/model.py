"""A simulated model whose answers prove themselves: every word says what it answers and where.

The words of one answer are `key.try.number`, the last one is `END.key.try.count`. An answer that
is cut, doubled or put together from two tries can be told from a whole one by its text alone.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from zlib import crc32

from llmbot.conversation.ports import Finish, FinishReason, ModelDeadlines, Prompt, Words
from llmbot.kernel.clock import Clock, Random
from llmbot.kernel.errors import (
    LlmbotError,
    ModelBlockedError,
    ModelEmptyError,
    ModelRateLimitedError,
    ModelStreamCutError,
    ModelTimeoutError,
    ModelUnavailableError,
)

_KEY = re.compile(r"\bask([0-9a-z]+)\b")
_WORD = re.compile(r"\b\w+\.\d+\.\d+\b")
_LAST_WORD = re.compile(r"(\w+)\.(\d+)\.(\d+)\s*$")
_GO_ON = "Go on exactly where you stopped"
_LENGTH_MAX = 180
"""Words in one stream; a longer answer must be continued."""


@dataclass(slots=True)
class ModelWeather:
    """How the models do now; shares of all calls."""

    unavailable: float = 0.01
    cut: float = 0.01
    limited: float = 0.003
    empty: float = 0.002
    blocked: float = 0.002
    silent: float = 0.001
    out: bool = False
    first_words_s: tuple[float, float] = (0.05, 1.5)
    between_s: tuple[float, float] = (0.01, 0.3)


def has_words(text: str) -> bool:
    """Whether a text holds a word of an answer."""
    return _WORD.search(text) is not None


def words_of(text: str) -> list[str]:
    """All words of answers in a text."""
    return _WORD.findall(text)


def key_of(text: str) -> str:
    """What a question asks for; empty where it asks for nothing."""
    found = _KEY.findall(text)
    return found[-1] if found else ""


def answer_words(key: str) -> int:
    """How long the answer to a key is, in words."""
    luck = crc32(key.encode())
    share = luck % 100
    if share < 80:
        return 3 + luck % 30
    if share < 95:
        return 30 + luck % 140
    return 150 + luck % 300


def whole(text: str) -> str | None:
    """The key of a text that is one whole answer, else None."""
    words = text.split()
    if not words:
        return None
    end = re.fullmatch(r"END\.(\w+)\.(\d+)\.(\d+)", words[-1])
    if end is None:
        return None
    key, attempt, count = end.groups()
    expected = [f"{key}.{attempt}.{number}" for number in range(int(count))]
    return key if words[:-1] == expected and int(count) == answer_words(key) else None


@dataclass(slots=True)
class Tries:
    """How often each question was asked, over all lives and models."""

    by_key: dict[str, int] = field(default_factory=dict)

    def next(self, key: str) -> int:
        """The number of a new try."""
        self.by_key[key] = self.by_key.get(key, 0) + 1
        return self.by_key[key]


class SimulatedModel:
    """See `ports.Model`."""

    provider = "simulated"

    def __init__(
        self,
        name: str,
        tries: Tries,
        clock: Clock,
        rng: Random,
        weather: ModelWeather,
        on_call: Callable[[str], None],
    ) -> None:
        self.name = name
        self._tries = tries
        self._clock = clock
        self._rng = rng
        self._weather = weather
        self._on_call = on_call

    async def stream(
        self, prompt: Prompt, deadlines: ModelDeadlines
    ) -> AsyncGenerator[Words | Finish]:
        """See `Model.stream`."""
        rng, weather = self._rng, self._weather
        key, attempt, begin = self._asked(prompt)
        self._on_call(f"{self.name} {key} {attempt}")
        await self._clock.sleep(rng.uniform(*weather.first_words_s))
        failure = self._failure()
        if begin and isinstance(failure, ModelBlockedError | ModelEmptyError):
            failure = None
        if isinstance(failure, ModelTimeoutError):
            await self._clock.sleep(deadlines.first_words_s)
        if failure is not None and not isinstance(failure, ModelStreamCutError):
            raise failure
        total = answer_words(key)
        end = min(total, begin + _LENGTH_MAX)
        cut_at = rng.randrange(begin, end + 1) if failure is not None else None
        place = begin
        while place < end:
            size = rng.randrange(5, 60)
            words = [f"{key}.{attempt}.{n}" for n in range(place, min(end, place + size))]
            place += len(words)
            if cut_at is not None and place > cut_at:
                raise ModelStreamCutError
            yield Words(" ".join(words) + " ")
            await self._clock.sleep(rng.uniform(*weather.between_s))
        if cut_at is not None:
            raise ModelStreamCutError
        if end < total:
            yield Finish(FinishReason.LENGTH, self.name, 10, 10)
            return
        yield Words(f"END.{key}.{attempt}.{total}")
        yield Finish(FinishReason.STOP, self.name, 10, 10)

    def _asked(self, prompt: Prompt) -> tuple[str, int, int]:
        """Key, number of the try, and the word to begin with."""
        last = prompt.turns[-1].text
        if _GO_ON in last and (spoken := _LAST_WORD.search(prompt.turns[-2].text)) is not None:
            key, attempt, number = spoken.groups()
            return key, int(attempt), int(number) + 1
        key = key_of(last) or "none"
        return key, self._tries.next(key), 0

    def _failure(self) -> LlmbotError | None:
        weather, rng = self._weather, self._rng
        if weather.out:
            return ModelUnavailableError("503")
        luck = rng.random()
        for share, error in (
            (weather.unavailable, ModelUnavailableError("500")),
            (weather.cut, ModelStreamCutError()),
            (weather.limited, ModelRateLimitedError("429", retry_after_s=rng.uniform(0.5, 5.0))),
            (weather.empty, ModelEmptyError()),
            (weather.blocked, ModelBlockedError()),
            (weather.silent, ModelTimeoutError("no first words", stage="first_words")),
        ):
            if luck < share:
                return error
            luck -= share
        return None
