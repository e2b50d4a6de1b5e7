"""What services in other processes answer: asked there with the internal token, on behalf of the user, and streamed through.

The console's gate stands before these routes as before all others. What another process cannot answer is a 503 that names the service.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx
import structlog
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, ValidationError

from services.console.addresses import AWAY, Address, addresses
from shared.config.internal import InternalConfig
from shared.http import USER_HEADER

log = structlog.get_logger(__name__)

#: Services that one process has, and the first parts of their paths below /api.
_PATHS: Mapping[str, tuple[str, ...]] = {
    "storage": ("recordings", "timeline", "snapshots", "storage"),
    "alarms": ("alarms", "events", "centres", "dead-letters", "log"),
}
_METHODS = ["GET", "POST", "PUT", "DELETE"]
#: What is passed on of a request, and of an answer: what its content means, and nothing about connections or sessions.
_ASKED = ("accept", "content-type", "range", "if-range", "if-none-match", "if-modified-since")
_ANSWERED = (
    "content-type", "content-length", "content-range", "content-encoding", "content-disposition",
    "accept-ranges", "cache-control", "etag", "last-modified", "retry-after", "x-capture-ns",
)  # fmt: skip
#: A database that repairs itself takes its time; a process that is not there is known at once.
_TIMEOUT = httpx.Timeout(60, connect=3)
_COUNTS_TIMEOUT = httpx.Timeout(5, connect=2)
_LIMITS = httpx.Limits(max_connections=200, max_keepalive_connections=20)
_RETRY = {"retry-after": "5"}


class _Count(BaseModel):
    """A row of analytics' counts, as far as this looks into it."""

    model_config = ConfigDict(extra="allow")

    channel: str
    rule: str
    as_of_ns: int = 0


class _Counts(BaseModel):
    counts: list[_Count]


class Forwarding:
    """Routes of the services that are not in this process. `close` at the end.

    Args:
        internal: where they are, and the token.
        absent: names of the services to ask elsewhere.
    """

    def __init__(self, internal: InternalConfig, absent: Collection[str]) -> None:
        self._internal = internal
        self._client = httpx.AsyncClient(timeout=_TIMEOUT, limits=_LIMITS, trust_env=False, follow_redirects=False)
        self.router = APIRouter(include_in_schema=False)
        for name in (name for name in _PATHS if name in absent):
            self._add(name)
        if "analytics" in absent:
            self.router.add_api_route("/api/counts", self._counts, methods=["GET"], response_model=None)

    async def close(self) -> None:
        """Idempotent."""
        await self._client.aclose()

    def _add(self, name: str) -> None:
        async def forward(request: Request) -> Response:
            return await self._forward(name, request)

        for path in _PATHS[name]:
            for route in (f"/api/{path}", f"/api/{path}/{{rest:path}}"):
                self.router.add_api_route(route, forward, methods=_METHODS, response_model=None)

    async def _forward(self, name: str, request: Request) -> Response:
        base: str | None = getattr(self._internal, name)
        if base is None:
            raise _away(f"{name} does not run in this process, and internal.{name} does not say where it is")
        query = request.scope["query_string"].decode("latin-1")
        url = base + request.scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
        headers = {key: value for key in _ASKED if (value := request.headers.get(key)) is not None} | self._credentials(request)
        asked = self._client.build_request(request.method, url, headers=headers, content=await request.body())
        try:
            answer = await self._client.send(asked, stream=True)
        except httpx.HTTPError as error:
            raise _unreachable(name, base, error) from error
        if answer.status_code in (401, 403):  # to a browser that would mean that its own login has ended
            await answer.aclose()
            raise _refused(name)
        kept = {key: value for key in _ANSWERED if (value := answer.headers.get(key)) is not None}
        return StreamingResponse(_chunks(answer), answer.status_code, kept)

    def _credentials(self, request: Request) -> dict[str, str]:
        token = self._internal.token
        if token is None:
            raise _away("internal.token is not set, so other processes would not answer: set it, the same in every process")
        return {"authorization": f"Bearer {token.get_secret_value()}", USER_HEADER: quote(str(request.state.user), safe="")}

    async def _counts(self, request: Request) -> dict[str, Any]:
        """Of all workers that answer; a channel's from the one that handled it last."""
        if not self._internal.analytics:
            raise _away("analytics does not run in this process, and internal.analytics does not say where it is")
        headers = self._credentials(request)
        workers = [worker for url in self._internal.analytics for worker in await addresses(url)]
        answers = await asyncio.gather(*(self._counts_of(worker, headers) for worker in workers), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, HTTPException):
                raise answer
        found = [answer for answer in answers if isinstance(answer, _Counts)]
        if not found:
            raise next((answer for answer in answers if isinstance(answer, HTTPException)), _away("analytics does not answer"))
        return {"counts": merged(found)}

    async def _counts_of(self, worker: Address, headers: Mapping[str, str]) -> _Counts:
        try:
            asked = {**headers, "host": worker.host}
            answer = await self._client.get(f"{worker.url}/api/counts", headers=asked, timeout=_COUNTS_TIMEOUT)
            if answer.status_code in (401, 403):
                raise _refused("analytics")
            if answer.status_code != 200:
                raise _away(f"analytics answers {answer.status_code}")
            return _Counts.model_validate_json(answer.content)
        except (httpx.HTTPError, ValidationError) as error:
            raise _unreachable("analytics", worker.name, error) from error


def merged(answers: Sequence[_Counts]) -> list[dict[str, Any]]:
    """One row for each rule of each channel: of the worker that handled the channel last."""
    rows: dict[tuple[str, str], _Count] = {}
    for row in (row for answer in answers for row in answer.counts):
        known = rows.get((row.channel, row.rule))
        if known is None or row.as_of_ns > known.as_of_ns:
            rows[(row.channel, row.rule)] = row
    return [row.model_dump() for row in rows.values()]


async def _chunks(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()


def _away(why: str) -> HTTPException:
    return HTTPException(503, why, headers=_RETRY)


def _unreachable(name: str, url: str, error: Exception) -> HTTPException:
    log.warning("another process does not answer", service=name, url=url, error=f"{type(error).__name__}: {error}")
    return _away(f"{name} {AWAY}")


def _refused(name: str) -> HTTPException:
    return _away(f"{name} does not take the internal token: internal.token must be the same in every process")
