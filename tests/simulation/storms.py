"""The weather: kills, storms on the gateway, outages, full disks; each at its seeded times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from math import isinf
from typing import TYPE_CHECKING, TypeVar

from llmbot.adapters.discord.session import End
from tests.simulation.connection import GatewayWeather, Line
from tests.simulation.disk import DiskWeather
from tests.simulation.model import ModelWeather
from tests.simulation.rest import RestWeather

if TYPE_CHECKING:
    from tests.simulation.world import World


class Storms:
    """Makes the weather of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._on = False
        self._trap = ""
        """What the process does when it is killed: said, committed; empty for no trap."""

    def begin(self) -> None:
        """From now on things go wrong."""
        plan = self._world.plan
        self._on = True
        for every_s, act in (
            (plan.kill_every_s, self._end_life),
            (plan.gateway_every_s, self._gateway),
            (plan.rest_every_s, self._rest),
            (plan.disk_every_s, self._disk),
            (plan.model_every_s, self._model),
        ):
            self._again_and_again(every_s, act)

    def end(self) -> None:
        """Everything is well from now on."""
        world = self._world
        self._on, self._trap = False, ""
        if world.life is not None:
            world.life.loop.dies_at_step = None
        world.server.gateway_down = False
        world.server.duplicated = 0.0
        world.disk.weather = DiskWeather(stall_share=0.0)
        rest, model, gateway = world.weather.rest, world.weather.model, world.weather.gateway
        _restore(rest, RestWeather(0.0, 0.0, 0.0, slow_share=0.0))
        _restore(model, ModelWeather(0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
        _restore(gateway, GatewayWeather(0.0))
        line = self._line()
        if line is not None and line.mute:
            line.end(End.ZOMBIE)

    def saw(self, what: str) -> None:
        """The process did something; it may be what a kill has waited for."""
        if self._trap == what:
            self._trap = ""
            self._world.kill(self._world.rng.randrange(1, 12))
            self._come_back()

    def _again_and_again(self, every_s: float, act: Callable[[], None]) -> None:
        if isinf(every_s):
            return
        world = self._world

        def strike() -> None:
            if self._on:
                act()
                self._again_and_again(every_s, act)

        world.timeline.at(world.rng.expovariate(1 / every_s), strike)

    def _for(self, seconds: float, undo: Callable[[], None]) -> None:
        def over() -> None:
            if self._on:
                undo()

        self._world.timeline.at(seconds, over)

    # ── the process ─────────────────────────────────────────────────────────────────────────────

    def _end_life(self) -> None:
        world, rng = self._world, self._world.rng
        if world.life is None:
            return
        if rng.random() < world.plan.clean_stops:
            world.timeline.at(0.0, self._stop)
            return
        how = rng.random()
        if how < 0.35:
            self._trap = "said"
        elif how < 0.6:
            self._trap = "committed"
        else:
            world.kill(rng.randrange(1, 200))
            self._come_back()

    def _stop(self) -> None:
        world = self._world
        if world.life is not None:
            world.told["asked to stop"] += 1
            world.life.stop()
            self._come_back()

    def _come_back(self) -> None:
        """Whoever started the process starts it again, mostly at once."""
        world, rng = self._world, self._world.rng
        pause_s = rng.uniform(0.1, 3.0) if rng.random() < 0.9 else rng.uniform(5.0, 90.0)

        def look() -> None:
            life = world.life
            if life is None:
                world.start()
            elif life.ended:
                world.bury("stop")
                world.start()
            elif self._on:
                world.timeline.at(0.5, look)

        world.timeline.at(pause_s, look)

    # ── the gateway ─────────────────────────────────────────────────────────────────────────────

    def _line(self) -> Line | None:
        life = self._world.life
        return None if life is None or life.connection is None else life.connection.line

    def _drop(self) -> None:
        line = self._line()
        if line is not None:
            self._world.told["drops"] += 1
            line.end(End.LOST)

    def _gateway(self) -> None:
        world, rng = self._world, self._world.rng
        luck = rng.random()
        if luck < 0.3:
            self._drop()
        elif luck < 0.5:
            self._drop()
            world.told["forgotten sessions"] += 1
            world.server.forget_sessions()
        elif luck < 0.65:
            world.told["storms"] += 1
            for _ in range(rng.randrange(3, 12)):
                world.timeline.at(rng.uniform(0.0, 12.0), self._drop_in_storm)
        elif luck < 0.8:
            world.told["gateway down"] += 1
            world.server.gateway_down = True
            self._drop()
            self._for(rng.uniform(0.5, 15.0), self._gateway_up)
        elif luck < 0.92:
            line = self._line()
            if line is not None:
                world.told["zombies"] += 1
                line.fall_silent()
        else:
            world.weather.gateway.dropped = 0.05
            world.told["frames dropped"] += 1
            self._for(rng.uniform(1.0, 10.0), self._gateway_clear)

    def _drop_in_storm(self) -> None:
        if self._on:
            self._drop()
            if self._world.rng.random() < 0.2:
                self._world.server.forget_sessions()

    def _gateway_up(self) -> None:
        self._world.server.gateway_down = False

    def _gateway_clear(self) -> None:
        self._world.weather.gateway.dropped = GatewayWeather().dropped

    # ── REST, disk, model ───────────────────────────────────────────────────────────────────────

    def _rest(self) -> None:
        world, rng = self._world, self._world.rng
        weather = world.weather.rest
        luck = rng.random()
        if luck < 0.4:
            world.told["Discord out"] += 1
            weather.out = True
            self._for(rng.uniform(0.5, 12.0), lambda: _restore(weather, RestWeather()))
        elif luck < 0.7:
            world.told["accepted but failed"] += 1
            weather.accepted_but_failed = 0.3
            self._for(rng.uniform(1.0, 10.0), lambda: _restore(weather, RestWeather()))
        else:
            world.told["Discord slow"] += 1
            weather.seconds, weather.slow_share = (0.05, 1.0), 0.1
            self._for(rng.uniform(1.0, 10.0), lambda: _restore(weather, RestWeather()))

    def _disk(self) -> None:
        world, rng = self._world, self._world.rng
        if rng.random() < 0.5:
            world.told["disk refuses"] += 1
            world.disk.weather.refuses = True
        else:
            world.told["disk slow"] += 1
            world.disk.weather.stall_share = 0.3
        self._for(rng.uniform(0.2, 6.0), self._disk_well)

    def _disk_well(self) -> None:
        self._world.disk.weather = DiskWeather()

    def _model(self) -> None:
        world, rng = self._world, self._world.rng
        weather = world.weather.model
        luck = rng.random()
        if luck < 0.4:
            world.told["models out"] += 1
            weather.out = True
        elif luck < 0.7:
            world.told["models cut"] += 1
            weather.cut = 0.5
        else:
            world.told["models slow"] += 1
            weather.first_words_s = (1.0, 12.0)
        self._for(rng.uniform(1.0, 20.0), lambda: _restore(weather, ModelWeather()))


T = TypeVar("T", RestWeather, ModelWeather, GatewayWeather)


def _restore(weather: T, fresh: T) -> None:
    """Make the weather fresh in place: those who stand in it keep it."""
    for part in fields(fresh):
        setattr(weather, part.name, getattr(fresh, part.name))
