"""What a seed decides: how many people talk how fast, and which weather they talk in."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from llmbot.kernel.clock import Random


@dataclass(frozen=True, slots=True)
class Plan:
    """One world; times in seconds. `every` is the mean time between two, infinite for never."""

    seed: int
    messages: int
    users: int
    channels: int
    workers: int
    user_rpm: int
    rate: float
    """Questions a second."""
    shuffled: bool
    kill_every_s: float
    clean_stops: float
    """Share of the ends of a life that are stops."""
    gateway_every_s: float
    rest_every_s: float
    disk_every_s: float
    model_every_s: float
    edits: float = 0.05
    deletes: float = 0.02
    commands: float = 0.06
    chatter: float = 0.05

    @property
    def deathless(self) -> bool:
        """Whether one process lives through it all; what it has heard cannot die with it."""
        return self.kill_every_s == inf


def plan(seed: int, messages: int) -> Plan:
    """The world of a seed."""
    rng = Random(f"plan {seed}")
    users, channels = rng.choice((2, 6, 20, 60)), rng.choice((1, 3, 8))
    workers = rng.choice((4, 8, 32))
    fastest = 0.25 * min(workers, users * (channels + 1))
    stormy = rng.random() < 0.85

    def every(*choices: float) -> float:
        return rng.choice(choices) if stormy else inf

    return Plan(
        seed=seed,
        messages=messages,
        users=users,
        channels=channels,
        workers=workers,
        user_rpm=rng.choice((0, 0, 0, 60)),
        rate=min(rng.choice((1.0, 3.0, 8.0)), fastest),
        shuffled=rng.random() < 0.5,
        kill_every_s=every(8.0, 20.0, 60.0, inf),
        clean_stops=rng.choice((0.0, 0.15, 0.5)),
        gateway_every_s=every(5.0, 15.0, 60.0, inf),
        rest_every_s=every(20.0, 60.0, inf),
        disk_every_s=every(20.0, 60.0, inf),
        model_every_s=every(20.0, 60.0, inf),
    )
