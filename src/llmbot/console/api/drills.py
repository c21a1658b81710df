"""`/api/drills`: faults of the bot itself, switched on and off for a drill."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Path
from pydantic import Field
from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.responses import Response

from llmbot.console.api.actions import recorded
from llmbot.console.api.incidents import DoneShape
from llmbot.console.api.models import Body, ProblemShape
from llmbot.console.api.problem import MEDIA_TYPE, problem
from llmbot.kernel.errors import LlmbotError

Name = Annotated[str, Path(max_length=60, description="name of a fault")]
SECONDS_MAX = 300.0


class Faults(Protocol):
    """What can be broken on purpose; see `app/fault_ports.py`."""

    @property
    def known(self) -> Mapping[str, str]:
        """Every fault with what it does."""
        ...

    async def begin(self, name: str, seconds: float, *, live: bool = False) -> None:
        """Switch one on.

        Raises:
            LlmbotError, OSError: it may not be, or could not be.
        """
        ...

    async def end(self, name: str) -> None:
        """Switch one off."""
        ...


class Drills(Protocol):
    """Drills as a whole: fault, watch, score; see `app/drill_desk.py`."""

    running: str
    """Name of the one that runs."""
    trouble_words: str
    """Why the last one came to no score."""

    def known(self) -> Mapping[str, str]:
        """Every drill with the fault that it brings; none where people use the bot."""
        ...

    async def scores(self) -> Sequence[Mapping[str, object]]:
        """The last tries, the newest first."""
        ...

    async def begin(self, name: str) -> None:
        """Run one; its score is told later.

        Raises:
            LlmbotError: it may not be run, or not now.
        """
        ...


class FaultBody(Body):
    """How long it lasts, and whether a live bot may be broken."""

    seconds: float = Field(10.0, gt=0, le=SECONDS_MAX)
    live: bool = Field(default=False, description="needed where people use the bot")


def drill_routes(faults: Callable[[], Faults], drills: Drills) -> APIRouter:
    """The routes; `faults` answers once the bot was put together."""
    routes = APIRouter(prefix="/api/drills", tags=["drills"])
    unknown: dict[int | str, dict[str, Any]] = {
        404: {"model": ProblemShape, "content": {MEDIA_TYPE: {}}, "description": "no such fault"},
        409: {
            "model": ProblemShape,
            "content": {MEDIA_TYPE: {}},
            "description": "it may not be run or switched on, or not now",
        },
    }

    @routes.get("", summary="Every fault of the bot itself, every drill, and the last scores")
    async def list_() -> dict[str, Any]:
        return {
            "faults": dict(faults().known),
            "drills": dict(drills.known()),
            "running": drills.running,
            "trouble": drills.trouble_words,
            "scores": [
                {to_camel(key): value for key, value in score.items()}
                for score in await drills.scores()
            ],
        }

    @routes.post(
        "/{name}/run",
        summary="Run a drill: break something, watch it mend, score it",
        description="What the drill breaks is broken for its users, in the demo alone.",
        responses=unknown,
        response_model=DoneShape,
    )
    async def run(name: Name, request: Request) -> DoneShape:
        await recorded(request, "drill/run", name, lambda _: drills.begin(name))
        return DoneShape(detail=f"{name} runs; its score stands in the list when it has ended")

    _fault_routes(routes, faults, unknown)
    return routes


def _fault_routes(
    routes: APIRouter,
    faults: Callable[[], Faults],
    unknown: dict[int | str, dict[str, Any]],
) -> None:
    @routes.put("/{name}", summary="Switch one on", responses=unknown, response_model=DoneShape)
    async def begin(name: Name, body: FaultBody, request: Request) -> DoneShape | Response:
        if name not in faults().known:
            return _unknown(faults())

        async def work(_: str) -> None:
            await faults().begin(name, body.seconds, live=body.live)

        options = {"seconds": body.seconds, "live": body.live}
        try:
            await recorded(request, "drill/fault-on", name, work, options)
        except LlmbotError as error:
            return problem(409, error.code, str(error), error.remedy)
        except OSError as error:
            return problem(409, "host", f"It could not be made: {error.strerror}.", "See the disk.")
        return DoneShape(detail=f"{name} is on for {body.seconds:g} s")

    @routes.delete("/{name}", summary="Switch one off", responses=unknown, response_model=DoneShape)
    async def end(name: Name, request: Request) -> DoneShape | Response:
        if name not in faults().known:
            return _unknown(faults())
        await recorded(request, "drill/fault-off", name, lambda _: faults().end(name))
        return DoneShape(detail=f"{name} is off")


def _unknown(faults: Faults) -> Response:
    words = f"There is no such fault; there are: {', '.join(faults.known)}."
    return problem(404, "unknown_fault", words, "Use one of the names.")
