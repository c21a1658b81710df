"""A world: people talk, the weather changes, the process lives and dies, and is judged."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from llmbot.adapters.discord.facts import GatewayState
from llmbot.kernel.clock import Random
from tests.simulation.disk import Disk
from tests.simulation.life import Life, Outdoors, Weather, settings_of
from tests.simulation.loop import Killed, SimulatedClock, Timeline
from tests.simulation.model import Tries
from tests.simulation.plan import Plan
from tests.simulation.server import Post, Server
from tests.simulation.storms import Storms
from tests.simulation.talk import Talk
from tests.simulation.verdict import Verdict, judge

HEAL_S_MAX = 3600.0
"""After the weather is fine again all must be settled within so many (virtual) seconds."""

_QUIET_S = 45.0
_LOOK_S = 1.0


@dataclass(slots=True)
class Outcome:
    """What became of one seed."""

    plan: Plan
    verdict: Verdict
    trace: str
    virtual_s: float
    lives: int
    told: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)

    @property
    def perfect(self) -> bool:
        """Whether nothing failed."""
        return not self.verdict.failures


class World:
    """Everything of one seed."""

    def __init__(self, plan: Plan, *, keep_log: bool = False) -> None:
        self.plan = plan
        self.rng = Random(f"world {plan.seed}")
        self.timeline = Timeline()
        self.clock = SimulatedClock(self.timeline)
        self.server = Server(self.timeline, self.clock, self.rng)
        self.disk = Disk(self.rng)
        self.weather = Weather()
        self.talk = Talk(plan, self.server, self.timeline, self.rng)
        self.storms = Storms(self)
        self.told: Counter[str] = Counter()
        self.life: Life | None = None
        self.lives = 0
        self.leaks: list[str] = []
        self.defects: list[str] = []
        self.log: list[str] = []
        self._settings = settings_of(plan)
        self._keep_log = keep_log
        self._hash = hashlib.blake2b(digest_size=8)
        self._outdoors = Outdoors(
            plan,
            self.timeline,
            self.clock,
            self.server,
            self.disk,
            Tries(),
            self.weather,
            self.rng,
            self.note,
        )
        self.server.on_post = self._posted
        self.server.note = self.note
        self.disk.on_commit = self._committed

    def note(self, line: str) -> None:
        """Into the trace."""
        text = f"{self.timeline.now:.6f} {line}"
        self._hash.update(text.encode())
        if self._keep_log:
            self.log.append(text)

    def _posted(self, post: Post, kind: str) -> None:
        self.note(f"discord {kind} {post.id} {post.author_id} {post.reply_to} {post.content[:60]}")
        if post.ours:
            self.storms.saw("said")

    def _committed(self, units: int) -> None:
        self.note(f"disk {units}")
        self.storms.saw("committed")

    # ── time ────────────────────────────────────────────────────────────────────────────────────

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Let so much time pass, at most until something is so; whether it is."""
        ends_at = self.timeline.now + seconds
        while not until():
            if self.timeline.now >= ends_at:
                return False
            self._step(ends_at)
        return True

    def _step(self, ends_at: float) -> None:
        timeline = self.timeline
        due = timeline.next_due()
        if due is not None and due <= timeline.now:
            timeline.act()
            return
        timer: float | None = None
        if self.life is not None and not self.life.loop.dead:
            loop = self.life.loop
            loop.wake()
            if loop.has_ready:
                try:
                    loop.turn()
                except Killed:
                    self.bury("kill")
                return
            timer = loop.next_timer()
        following = min(x for x in (due, timer, ends_at) if x is not None)
        timeline.now = max(timeline.now, following)

    # ── life and death ──────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """A new process."""
        self.lives += 1
        self.note(f"life {self.lives}")
        self.life = Life(self._outdoors, self.lives, self._settings)

    def kill(self, steps: int) -> None:
        """Kill the process, so many steps of its loop from now."""
        if self.life is not None and not self.life.ended:
            self.life.loop.dies_at_step = self.life.loop.steps + max(1, steps)

    def stop(self) -> None:
        """Stop the process cleanly; returns when it has ended."""
        life = self.life
        if life is None:
            return
        life.stop()
        if not self.run(120.0, lambda: life.ended):
            self.leaks.append("the process did not stop within 120 s")
        if not life.loop.dead:
            # The last steps of its own tasks.
            self.run(0.001)
        self.bury("stop")

    def bury(self, how: str) -> None:
        """The process is gone; note what it left behind."""
        life = self.life
        if life is None:
            return
        self.told[how] += 1
        self.note(how)
        self.defects += life.defects
        if life.stopped_cleanly:
            self.leaks += life.leaks()
        elif life.failed_start:
            self.told[f"start failed: {life.failed_start}"] += 1
        life.kill()
        self.life = None

    # ── the whole story ─────────────────────────────────────────────────────────────────────────

    def live(self) -> Outcome:
        """From the first start to the verdict."""
        self.talk.furnish()
        self.start()
        self.run(30.0, lambda: bool(self.server.sessions))
        greeted = self.talk.greet()
        wanted = len(greeted)
        self.run(60.0, lambda: self._claimed() >= wanted)
        self.storms.begin()
        while len(self.talk.questions) < self.plan.messages:
            self.run(self.rng.expovariate(self.plan.rate))
            self.talk.say()
        self.run(5.0)
        self.storms.end()
        if self.life is None:
            self.start()
        healed = self.run(HEAL_S_MAX, self._look_for_quiet())
        self.stop()
        verdict = judge(self.talk, self.server, self.disk)
        if not healed:
            verdict.fail("unfinished", f"not quiet {HEAL_S_MAX:g} s after all was healed")
        for leak in self.leaks:
            verdict.fail("leaked", leak)
        for defect in self.defects:
            verdict.fail("defect", defect)
        return Outcome(
            self.plan,
            verdict,
            self._hash.hexdigest(),
            self.timeline.now,
            self.lives,
            self.told,
            self.log,
        )

    def _claimed(self) -> int:
        if not self.disk.rows("SELECT name FROM sqlite_master WHERE name = 'jobs'"):
            return 0
        return int(self.disk.rows("SELECT COUNT(*) FROM jobs")[0][0])

    def _open_jobs(self) -> int:
        if not self._claimed():
            return 0
        # A reply that a late call of a dead life may overwrite is looked at once more.
        open_ones = (
            "SELECT (SELECT COUNT(*) FROM jobs WHERE state NOT IN ('done', 'noticed', 'dead')) + "
            "(SELECT COUNT(*) FROM jobs WHERE state IN ('done', 'noticed') AND answer IS NOT NULL)"
        )
        return int(self.disk.rows(open_ones)[0][0])

    def _is_connected(self) -> bool:
        connection = self.life.connection if self.life is not None else None
        return connection is not None and connection.facts().state is GatewayState.READY

    def _look_for_quiet(self) -> Callable[[], bool]:
        """Whether nothing has changed on the disk and in the channels for a while."""
        state: tuple[int, ...] = ()
        since = look_at = self.timeline.now

        def quiet() -> bool:
            nonlocal state, since, look_at
            now = self.timeline.now
            if now < look_at:
                return False
            look_at = now + _LOOK_S
            if self.life is not None and self.life.ended:
                self.bury("ended by itself")
                self.start()
            open_jobs = self._open_jobs()
            fresh = (len(self.server.posts), self._claimed(), open_jobs)
            # A gateway that failed again and again is left alone for minutes before the next try.
            if fresh != state or open_jobs or not self._is_connected():
                state, since = fresh, now
            return now - since >= _QUIET_S

        return quiet


def live(plan: Plan, *, keep_log: bool = False) -> Outcome:
    """One seed."""
    return World(plan, keep_log=keep_log).live()
