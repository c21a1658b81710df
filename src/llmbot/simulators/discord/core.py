"""Everything the parts of the simulated Discord share, made in one place."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from aiohttp import web

from llmbot.simulators.discord.announce import Announcer
from llmbot.simulators.discord.commands import CommandRegistry
from llmbot.simulators.discord.feed import Feed
from llmbot.simulators.discord.files import FileStore
from llmbot.simulators.discord.interactions import Interactions
from llmbot.simulators.discord.nonces import Nonces
from llmbot.simulators.discord.payloads import LinkMaker
from llmbot.simulators.discord.ratelimits import RateLimits
from llmbot.simulators.discord.render import Renderer
from llmbot.simulators.discord.sessions import Sessions
from llmbot.simulators.discord.settings import DiscordSettings
from llmbot.simulators.discord.statistics import Statistics
from llmbot.simulators.discord.world import World
from llmbot.simulators.faults import FaultBoard


@dataclass(slots=True)
class Core:
    """The parts, and the token that is valid now."""

    settings: DiscordSettings
    board: FaultBoard
    rng: random.Random
    world: World
    sessions: Sessions
    feed: Feed
    statistics: Statistics
    links: LinkMaker
    files: FileStore
    renderer: Renderer
    announcer: Announcer
    limits: RateLimits
    nonces: Nonces
    commands: CommandRegistry
    interactions: Interactions
    token: str
    prefix: str = ""

    def base_of(self, request: web.BaseRequest) -> str:
        """Return the address that links in answers to this request begin with."""
        if self.settings.public_url is not None:
            return self.settings.public_url.rstrip("/") + self.prefix
        scheme = request.headers.get("X-Forwarded-Proto", request.scheme)
        return f"{scheme}://{request.host}{self.prefix}"

    def application_flags(self) -> int:
        """Return the application's flags: which privileged intents are switched on.

        Bits: presence limited 1<<13, members limited 1<<15, message content limited 1<<19.
        """
        allowed = self.settings
        return (
            (allowed.presences_intent_allowed << 13)
            | (allowed.members_intent_allowed << 15)
            | (allowed.message_content_allowed << 19)
        )


def build(settings: DiscordSettings, board: FaultBoard, rng: random.Random) -> Core:
    """Make all parts."""
    world = World(settings)
    sessions = Sessions(settings)
    feed = Feed(settings.feed_events_max, settings.feed_queue_max)
    statistics = Statistics()
    links = LinkMaker(rng.randbytes(16))
    renderer = Renderer(world, links)
    announcer = Announcer(world, sessions, feed, renderer, board, statistics)
    return Core(
        settings=settings,
        board=board,
        rng=rng,
        world=world,
        sessions=sessions,
        feed=feed,
        statistics=statistics,
        links=links,
        files=FileStore(settings.attachments_bytes_max),
        renderer=renderer,
        announcer=announcer,
        limits=RateLimits(settings, time.monotonic),
        nonces=Nonces(settings.nonce_window_s, time.monotonic),
        commands=CommandRegistry(world.new_id, settings.commands_daily_limit, time.monotonic),
        interactions=Interactions(settings, time.monotonic),
        token=settings.token,
    )
