"""A reply on its way to Discord: shown while it grows, whole at its end, never twice.

While the model speaks, the latest text is shown at the channel's pace by a task of its own; the
model's tokens never wait for Discord. `finish` makes the messages equal to the final text, whatever
was shown before and whoever showed it: an earlier attempt, an earlier life, a notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from math import inf
from types import TracebackType
from typing import Self, TypeVar

from llmbot.conversation.changes import looked_up
from llmbot.conversation.jobs import Job
from llmbot.conversation.ledger.job_store import JobStore
from llmbot.conversation.models.last_calls import bounded, to_its_end
from llmbot.conversation.ports import Sent
from llmbot.conversation.replies.pace import DeliverySettings, Pace
from llmbot.conversation.replies.shown import Shown
from llmbot.conversation.replies.sinks import Sink
from llmbot.conversation.splitting import GrowingSplit, split_message
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import (
    DiscordNotFoundError,
    LlmbotError,
    RefusedError,
    TransientError,
)
from llmbot.resilience.lock import Lock

T = TypeVar("T")

_TYPING_AGAIN_S = 8.0
"""Discord shows typing for ten seconds. Source: Discord API reference, "Trigger Typing"."""

_TIGHT_S = 0.5
"""How long what can be done without waits before it looks for room again."""

_AT_ONCE_S = 0.5
"""An answer may come so soon after its turn came late that no notice is worth its call."""

_ANEW_MAX = 4
"""So often a part that is gone is sent anew."""

NONCE_SURE_S = 60.0
"""So long Discord surely remembers a nonce: it says "the past few minutes"."""


class Reply:
    """One reply; see the module's docstring."""

    def __init__(
        self,
        job: Job,
        sink: Sink,
        store: JobStore,
        clock: Clock,
        pace: Pace,
        settings: DeliverySettings,
    ) -> None:
        """Reply to `job` through `sink`."""
        self._job = job
        self._sink = sink
        self._store = store
        self._clock = clock
        self._pace = pace
        self._settings = settings
        self._split = GrowingSplit()
        self._shown = Shown(job, store.parts)
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._calling = False
        self._standing_in = False
        self._in_order = 0
        self._spoken = self._ending = False
        self._preface = sink.preface
        self._closing = asyncio.Event()
        self._refusal: RefusedError | None = None
        self._unsure: TransientError | None = None
        self._lost_one = False
        self.growing: Callable[[], bool] = lambda: True
        self.silent = self.doubtful = False
        self.looked = True
        """Whether it is known what an earlier life sent for this."""
        self.turn: Lock | None = None
        self.words_for_silence: Callable[[Job], str] | None = None
        self.edits = 0
        self.whole = ""
        """What the messages were made equal to."""

    async def __aenter__(self) -> Self:
        """Look for what an earlier life sent, then begin to show."""
        if self._job.in_flight_before or self._job.unsure or self.doubtful:
            self.looked = False
            await self._find_sent()
        if self.silent or self._unsure is not None:
            return self
        name = f"reply-{self._job.message_id}"
        self._task = asyncio.create_task(self._show(), name=name)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop showing; what was shown stays, for the next attempt to complete."""
        await self._stop_showing()

    # ── while the model speaks ──────────────────────────────────────────────────────────────────

    def words(self, text: str) -> None:
        """More of the answer has come; returns at once.

        Raises:
            RefusedError: Discord has said that this reply can never be shown.
        """
        if self._refusal is not None:
            raise self._refusal
        if not self._job.times.first_words:
            self._job.times.first_words = self._clock.monotonic()
        preface, self._preface = self._preface, ""
        self._split.feed(preface + text)
        self._news.set()

    def restart(self) -> None:
        """Another model starts the answer anew; what is shown stays until it has words."""
        self._split, self._preface = GrowingSplit(), self._sink.preface

    @property
    def has_spoken(self) -> bool:
        """Whether words of the answer stand on Discord, or are on their way there."""
        return self._spoken or self._ending

    async def retract(self) -> None:
        """Delete what stands in the answer's place: its question was taken back.

        Raises:
            TransientError: Discord could not be reached; try again later.
            RefusedError: Discord will never let it be deleted.
        """
        await self._stop_showing()
        if not self.looked:
            # A nonce tells of what is sent again only; here nothing will be.
            self._take_in((await self._sink.find()).parts)
        await to_its_end(self._drop_from(0))

    @property
    def words_shown(self) -> bool:
        """Whether anything of this reply stands on Discord."""
        return len(self._shown) > 0

    def check(self) -> None:
        """Be sure of what stands on Discord already.

        Raises:
            TransientError: it could not be looked up, and Discord may have forgotten the nonces.
        """
        if self._unsure is not None:
            raise self._unsure

    # ── the end ─────────────────────────────────────────────────────────────────────────────────

    async def finish(self, text: str) -> int:
        """Make the messages equal to `text`; answers how many there are.

        Raises:
            TransientError: Discord could not be reached; what landed is known, try again later.
            RefusedError: Discord will never take it.
        """
        self.check()
        await self._stop_showing()
        self._ending = True
        self.whole = self._sink.preface + text
        parts = split_message(self.whole)
        for number, part in enumerate(parts):
            await to_its_end(self._place(number, part))
        if len(self._shown) > len(parts):
            await to_its_end(self._drop_from(len(parts)))
        return len(parts)

    async def _drop_from(self, count: int) -> None:
        while len(self._shown) > count:
            await self._sink.delete(self._shown[-1].discord_id)
            self._shown.drop_last()

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    async def _show(self) -> None:
        """The reply's own task: typing until there are words, then the words at their pace."""
        await self._until_words()
        if self._closing.is_set() or not (self._settings.streaming and self.growing()):
            return
        await self._clock.sleep(self._settings.settle_s)
        while not self._closing.is_set():
            self._news.clear()
            self._calling = True
            try:
                await self._show_growing()
            except TransientError:
                # Growth that could not be shown is shown with the next step, or at the end.
                pass
            except RefusedError as error:
                self._refusal = error
                return
            finally:
                self._calling = False
            if self._closing.is_set():
                return
            await self._news.wait()
            await self._clock.sleep(self._pace.reserve(self._sink.channel_id))
            while self._sink.is_tight():
                # What is left of Discord's limit is for final texts, this one's among them.
                await self._clock.sleep(_TIGHT_S)

    async def _until_words(self) -> None:
        """Show typing, and after a while say that it takes time; ends with the first words.

        An answer that is whole already needs no notice in its place.
        """
        now = self._clock.monotonic()
        type_at = now + self._settings.typing_after_s
        speak_at = inf
        speaks = self._settings.silence_s > 0 and self.words_for_silence is not None
        if speaks and not self._shown and self._job.answer is None:
            speak_at = (self._job.times.received or now) + self._settings.silence_s
            speak_at = max(speak_at, now + min(_AT_ONCE_S, self._settings.silence_s))
        while not (self._news.is_set() or self._closing.is_set()):
            wait_s = min(type_at, speak_at) - self._clock.monotonic()
            try:
                async with asyncio.timeout(max(0.0, wait_s)):
                    await self._news.wait()
            except TimeoutError:
                if self._clock.monotonic() >= speak_at:
                    speak_at = inf if await self._spoke_up() else speak_at + _TIGHT_S
                else:
                    type_at += _TYPING_AGAIN_S
                    await self._typed()

    async def _typed(self) -> None:
        if self._shown and not self._standing_in:
            return
        try:
            await self._sink.typing()
        except LlmbotError:
            # Typing is a courtesy; the answer will say what is wrong, if anything is.
            return

    async def _spoke_up(self) -> bool:
        """Let a notice stand where the answer will; False while there is no room for it."""
        if self._sink.is_tight():
            return False
        if not self._shown and self.words_for_silence is not None:
            self._calling = True
            try:
                await self._place(0, self._sink.preface + self.words_for_silence(self._job))
                self._standing_in = True
            except TransientError:
                return False
            except RefusedError as error:
                self._refusal = error
            finally:
                self._calling = False
        return True

    async def _show_growing(self) -> None:
        parts = self._split.parts()
        self._spoken = self._spoken or bool(parts)
        # The part after the last stable one is still growing; those behind it may yet move.
        for number, part in enumerate(parts[: self._split.stable + 1]):
            await self._place(number, part)

    async def _place(self, number: int, text: str) -> None:
        """Make one part hold this text."""
        for _ in range(_ANEW_MAX):
            if self.turn is not None:
                self.turn.check()
            if number == len(self._shown) and self._lost_one:
                self._take_in((await self._sink.find()).parts)
            if number == len(self._shown):
                await self._send(number, text)
            if await self._gave_way(number):
                continue
            shown = self._shown[number]
            if shown.text != text:
                try:
                    await self._sink.edit(number, shown.discord_id, text)
                except DiscordNotFoundError:
                    if shown.spoken:
                        # Words that somebody deleted are not forced upon the channel again.
                        raise
                    # A notice is gone, by a moderator or an earlier life: the answer is due.
                    await self._drop_from(number)
                    continue
                shown.text = text
                self.edits += 1
            shown.spoken = self._spoken
            return
        raise DiscordNotFoundError

    async def _gave_way(self, number: int) -> bool:
        """Delete a part that stands above what it belongs below; whether it did.

        The first belongs below earlier answers to the author. The deletion may land late, after
        this process has died: whoever has the job then comes to the same conclusion, and edits no
        answer into what is about to vanish. Any other belongs below the one before it, but a nonce
        may give back what a dead process deleted.
        """
        place = self._shown[number].discord_id
        if self._job.inbound.interaction is not None or place == self._in_order:
            return False
        if number:
            overtaken = place < self._shown[number - 1].discord_id
        else:
            of_earlier_life = self.doubtful or not self._job.times.received
            overtaken = await self._store.parts.is_overtaken(
                self._job, place, of_earlier_life=of_earlier_life
            )
        if overtaken:
            with suppress(RefusedError):  # it stays, whoever asks for it to go
                await self._drop_from(number)
                return True
        if number == 0:
            self._in_order = place
        return False

    async def _send(self, number: int, text: str) -> None:
        """Add a part; it holds another text where its nonce gave back what had been sent before."""
        try:
            sent = await self._sink.send(number, text, instead_of=self._job.gone.get(number, 0))
        except TransientError:
            # It may stand there all the same. By the next try its nonce may be forgotten, and
            # follow-ups to a command have none.
            self._job.unsure = self._lost_one = True
            raise
        stands = text if sent.content.strip() == text.strip() else sent.content
        self._shown.add(sent.id, stands)
        self._pace.spoke(self._sink.channel_id)

    async def _find_sent(self) -> None:
        asked = self._job.inbound
        try:
            found = await self._sink.find()
        except TransientError as error:
            if self.doubtful or self._clock.wall() - self._job.created_s > NONCE_SURE_S:
                self._unsure = error
            # Else the nonce still prevents doubles, and the reply need not wait for this.
            return
        except LlmbotError:
            return
        self._take_in(found.parts)
        looked_up(self._job, asked, found, self._store)

    def _take_in(self, found: list[Sent]) -> None:
        """Go on from what stands there."""
        self.looked, self._lost_one, self._job.unsure = True, False, False
        self._shown.take_in(found)

    async def _stop_showing(self) -> None:
        self._closing.set()
        task, self._task = self._task, None
        if task is None:
            return
        if self._calling:
            try:
                await asyncio.shield(asyncio.wait((task,)))
            except asyncio.CancelledError:
                await bounded(task)
                raise
        else:
            task.cancel()
            await asyncio.wait((task,))
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
