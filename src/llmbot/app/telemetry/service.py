"""The log as a service, so that its trouble is seen and told like that of any other part."""

from __future__ import annotations

from dataclasses import dataclass

from llmbot.app.telemetry.logs import Telemetry

__all__ = ["LogService"]


@dataclass(slots=True)
class LogService:
    """The log writes before the services start and after they stop; this tells how it fares."""

    telemetry: Telemetry
    name: str = "log"
    needs: tuple[str, ...] = ()

    async def start(self) -> None:
        """It writes already."""

    async def stop(self) -> None:
        """It writes to the end."""

    def trouble(self) -> str:
        """Why lines do not reach the file."""
        return self.telemetry.trouble()
