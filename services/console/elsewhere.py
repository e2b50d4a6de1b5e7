"""How the services in other processes are: each process is asked for its health every few seconds, and none delays another.

Shown on the page and by `GET /api/status`. The console's own `/healthz` is of its own process alone: who watches over that process would
otherwise start it again because another one is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import httpx
import structlog
from pydantic import BaseModel, Field, ValidationError

from services.console.addresses import AWAY, Address, addresses
from shared.config.internal import InternalConfig
from shared.domain.clock import Clock
from shared.service import Health
from shared.supervise import Supervisor

log = structlog.get_logger(__name__)

#: Between two looks at a process, and how long it may take to answer.
LOOK_S, TIMEOUT_S = 5.0, 3.0
#: Processes behind one name, and bytes of an answer, that are looked at.
MOST_PROCESSES, MOST_BYTES = 256, 1024 * 1024
_AWAY = Health(False, AWAY)
_UNKNOWN = Health(False, "not asked yet")


class _Service(BaseModel):
    """What a process says of one of its services."""

    ok: bool
    summary: str = ""
    details: dict[str, str | int | float | bool] = {}


class _Process(BaseModel):
    """What a process says of itself. `share`: `I/N`, the part of the cameras that it takes; empty: all, or none of its business."""

    services: dict[str, _Service]
    share: str = Field(default="", pattern=r"^([1-9]\d{0,3}/[1-9]\d{0,3})?$")


@dataclass(frozen=True, slots=True)
class ServiceElsewhere:
    """A service in another process. `process`: its HOST:PORT."""

    name: str
    process: str
    health: Health


class Elsewhere:
    """What `internal` of the configuration names is asked from `start` on, until the supervisor stops. `close` at the end.

    Args:
        internal: where other processes are.
        absent: names of the services that are not in this process.
    """

    def __init__(self, internal: InternalConfig, absent: Collection[str], clock: Clock, supervisor: Supervisor) -> None:
        self._clock, self._supervisor = clock, supervisor
        named = {"ingest": internal.ingest, "storage": (internal.storage,), "alarms": (internal.alarms,), "analytics": internal.analytics}
        self._asked = tuple((name, url) for name, urls in named.items() if name in absent for url in urls if url is not None)
        #: By the URL that was asked: the processes behind it by their HOST:PORT; None: no answer.
        self._found: dict[str, Mapping[str, _Process | None]] = {}
        self._client = httpx.AsyncClient(timeout=TIMEOUT_S, limits=httpx.Limits(max_connections=64), trust_env=False)

    def start(self) -> None:
        """Begin to ask."""
        for name, url in dict.fromkeys(self._asked):
            self._supervisor.spawn(f"console.elsewhere.{name}.{httpx.URL(url).netloc.decode()}", partial(self._watch, name, url))

    async def close(self) -> None:
        """Idempotent."""
        await self._client.aclose()

    def services(self) -> list[ServiceElsewhere]:
        """As they said when they were asked last; each service of each process once."""
        found = (one for name, url in self._asked for one in self._services(name, url))
        return [*{(one.name, one.process): one for one in found}.values(), *self._missing_shares()]

    def _services(self, name: str, url: str) -> Iterator[ServiceElsewhere]:
        processes = self._found.get(url)
        if processes is None:
            yield ServiceElsewhere(name, httpx.URL(url).netloc.decode(), _UNKNOWN)
            return
        for where, process in processes.items():
            if process is None:
                yield ServiceElsewhere(name, where, _AWAY)
                continue
            for each, told in process.services.items():
                yield ServiceElsewhere(each, where, Health(told.ok, told.summary, told.details))

    def _missing_shares(self) -> Iterator[ServiceElsewhere]:
        """A process that has ended may have left the name that it shared: then the others' shares tell that it is missing."""
        processes = (process for _, url in self._asked for process in self._found.get(url, {}).values() if process is not None)
        shares = {(int(index), int(of)) for index, _, of in (one.share.partition("/") for one in processes if one.share)}
        for of in sorted({of for _, of in shares}):
            for index in range(1, of + 1):
                if (index, of) not in shares:
                    yield ServiceElsewhere("ingest", f"share {index}/{of}", Health(False, "no process takes this share of the cameras"))

    async def _watch(self, name: str, url: str) -> None:
        while True:
            before, now = self._found.get(url, {}), await self._ask(url)
            for where in now:
                if now[where] is None and before.get(where, True) is not None:
                    log.warning("another process does not answer", service=name, process=where)
            self._found[url] = now
            await self._clock.sleep(LOOK_S)

    async def _ask(self, url: str) -> Mapping[str, _Process | None]:
        """Every process behind the URL, side by side."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                found = (await addresses(url))[:MOST_PROCESSES]
        except TimeoutError:  # names are not resolved now
            return {httpx.URL(url).netloc.decode(): None}
        answers = await asyncio.gather(*(self._health(one) for one in found))
        return dict(zip((one.name for one in found), answers, strict=True))

    async def _health(self, where: Address) -> _Process | None:
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                self._client.stream("GET", f"{where.url}/healthz", headers={"host": where.host}) as answer,
            ):
                body = b""
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > MOST_BYTES:
                        return None
            return _Process.model_validate_json(body)
        except (httpx.HTTPError, TimeoutError, ValidationError):
            return None
