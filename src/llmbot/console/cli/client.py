"""How the command line finds and asks the running bot and the simulators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from llmbot.console.views import ConfigView
from llmbot.kernel.errors import StartupError
from llmbot.storage.instance import InstanceFacts, read_instance

if TYPE_CHECKING:  # they take long, and `llmbot version` need not wait for them
    import httpx2

    from llmbot.storage.documents.recovery import DocumentShelf

ANSWER_DEADLINE_S = 30.0
_NO_CONTENT = 204
_FIRST_REFUSAL = 400


class CommandError(StartupError):
    """A command could not do its work."""

    code = "command"
    exit_code = 1


class NotRunningError(StartupError):
    """No bot runs on this data directory."""

    code = "not_running"
    exit_code = 3
    remedy = (
        "Start one with `llmbot run`, or `llmbot demo` to try it without an account; a bot that "
        "keeps its data elsewhere is found with --data-dir. Without a bot these work still: "
        "`llmbot data`, `llmbot audit`, `llmbot config`."
    )


@dataclass(frozen=True, slots=True)
class Local:
    """What the settings of this working directory say of the bot that may run here."""

    data_dir: Path
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What a demo is told on the command line; None leaves the settings as they are."""

    host: str | None
    port: int | None
    data_dir: Path | None


class Entry(Protocol):
    """What the command line asks of the application; given by `__main__`, loaded when used."""

    def local(self, data_dir: Path | None) -> Local:
        """Where the bot of this directory keeps its facts, and its token."""
        ...

    def run(self) -> int:
        """Run the bot live until it ends; its exit code."""
        ...

    def demo(self, options: DemoOptions) -> int:
        """Run simulators and bot until Ctrl-C; the exit code."""
        ...

    def simulate(self, arguments: list[str]) -> int:
        """Run the simulators alone."""
        ...

    def config(self, *, live: bool) -> ConfigView:
        """Judge the environment and `.env`."""
        ...

    def shelf(self, data_dir: Path) -> DocumentShelf:
        """The documents of a bot that is down."""
        ...

    def restore_database(self, data_dir: Path, at_s: float) -> dict[str, Any]:
        """Bring back the SQLite database of a bot that is down, as it was at a time."""
        ...

    def example(self, *, markdown: bool) -> str:
        """Every setting with its default and reason."""
        ...


def running(local: Local) -> InstanceFacts | None:
    """The bot that runs on this directory's data and can be asked, or None."""
    facts = read_instance(local.data_dir)
    return facts if facts is not None and facts.http_address else None


def running_or_fail(local: Local) -> InstanceFacts:
    """The bot that runs here.

    Raises:
        NotRunningError: there is none, or it is still starting.
    """
    facts = read_instance(local.data_dir)
    if facts is None:
        raise NotRunningError(f"No bot runs on the data in {local.data_dir}.")
    if not facts.http_address:
        raise NotRunningError(
            f"The bot on the data in {local.data_dir} (process {facts.pid}) has not told yet where "
            "it listens: it is starting, or the disk is full."
        )
    return facts


def simulator_address(local: Local, given: str) -> str:
    """Where the simulated Discord is: named, or that of the demo that runs here.

    Raises:
        NotRunningError: no demo runs here.
    """
    if given:
        return given.rstrip("/")
    facts = running(local)
    if facts is None:
        words = f"No demo runs on the data in {local.data_dir}, so there is nobody to talk to."
        raise NotRunningError(words)
    if not facts.simulator_address:
        raise CommandError("The bot that runs here is live: talk to it on Discord.")
    return facts.simulator_address


class Remote:
    """One address that speaks JSON: the operator API, or the simulators' control API."""

    def __init__(self, address: str, token: str = "") -> None:
        """Nothing is asked yet."""
        self.address = address
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def text(self, path: str) -> str:
        """The answer to a GET as text.

        Raises:
            NotRunningError: nobody answers there.
            CommandError: the answer is no.
        """
        import httpx2  # noqa: PLC0415 - see `_client`

        try:
            with self._client(ANSWER_DEADLINE_S) as client:
                answer = client.get(self.address + path)
        except httpx2.HTTPError:
            raise NotRunningError(f"Nobody answers at {self.address}.") from None
        if answer.status_code >= _FIRST_REFUSAL:
            raise CommandError(f"{path}: HTTP {answer.status_code}")
        return answer.text

    def serves(self) -> bool:
        """Whether the bot answers messages, or keeps them waiting as its operator wants."""
        try:
            found = self.ask("GET", "/api/health/ready", accept=(503,), deadline_s=2.0)
        except (CommandError, NotRunningError):
            return False
        return found.get("status") in {"ready", "maintenance"}

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        accept: tuple[int, ...] = (),
        deadline_s: float = ANSWER_DEADLINE_S,
    ) -> dict[str, Any]:
        """The answer's JSON.

        Raises:
            NotRunningError: nobody answers there.
            CommandError: the answer is no, unless its status is in `accept`.
        """
        import httpx2  # noqa: PLC0415 - see `_client`

        try:
            with self._client(deadline_s) as client:
                answer = client.request(method, self.address + path, json=body)
                found = {} if answer.status_code == _NO_CONTENT else answer.json()
        except httpx2.TimeoutException:
            raise CommandError(f"{self.address} did not answer within {deadline_s:g} s.") from None
        except (httpx2.HTTPError, httpx2.InvalidURL):
            raise NotRunningError(f"Nobody answers at {self.address}.") from None
        except ValueError:
            raise CommandError(f"{self.address} does not answer as llmbot does.") from None
        if answer.status_code >= _FIRST_REFUSAL and answer.status_code not in accept:
            words = found.get("detail") or found.get("error") or f"HTTP {answer.status_code}"
            error = CommandError(str(words if isinstance(words, str) else found))
            error.remedy = str(found.get("remedy") or "")  # type: ignore[misc] # the other side's own
            raise error
        return found if isinstance(found, dict) else {}

    def _client(self, deadline_s: float) -> httpx2.Client:
        """For one question: who asks may be a thread."""
        import httpx2  # noqa: PLC0415 - 150 ms that `llmbot version` need not pay

        # No proxy stands between us and this machine, whatever the environment says; and to load
        # all certificates takes longer than most answers, which plain HTTP has no use for.
        return httpx2.Client(
            timeout=deadline_s,
            trust_env=False,
            headers=self._headers,
            verify=not self.address.startswith("http://"),
        )
