"""Storage over HTTP: recordings with ranges, locks, the time bar, snapshots. The console includes it behind its own gate."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute

from services.storage.adapters.disk import DiskError
from services.storage.app import StorageService
from services.storage.core.model import Kind, Recording, State
from shared.domain.errors import CatalogueError, ObjectNotFound, ObjectStoreError, StorageFull
from shared.domain.ids import SLUG_PATTERN
from shared.objects.port import check_key

_RANGE = re.compile(r"^bytes=(\d{0,18})-(\d{0,18})$")  # no file is longer, and Python refuses to read thousands of digits
_ID = re.compile(r"^[A-Za-z0-9_-]{1,64}\Z")
_MAX_NS = 2**63 - 1
UtcNs = Annotated[int, Query(ge=0, le=_MAX_NS, description="UTC nanoseconds since the epoch")]
ChannelId = Annotated[str, Query(pattern=SLUG_PATTERN, description="id of a channel")]


def router(service: StorageService) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["storage"], route_class=_Route, dependencies=[Depends(_ready(service))])
    _recordings(routes, service)
    _media(routes, service)
    _others(routes, service)
    return routes


class _Route(APIRoute):
    """Answers 503 with the reason while the catalogue or the disk cannot be asked; it is no fault of who asks."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except (CatalogueError, StorageFull, DiskError) as error:
                raise _unavailable(error.what) from error

        return handled


def _ready(service: StorageService) -> Callable[[], Awaitable[None]]:
    async def ready() -> None:
        if service.not_ready:
            raise _unavailable(service.not_ready)

    return ready


def _unavailable(why: str) -> HTTPException:
    return HTTPException(503, why, headers={"Retry-After": "5"})


def _recordings(routes: APIRouter, service: StorageService) -> None:
    @routes.get("/api/recordings")
    async def recordings(
        channel: Annotated[str | None, Query(pattern=SLUG_PATTERN)] = None,
        from_ns: UtcNs = 0,
        to_ns: UtcNs = _MAX_NS,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    ) -> dict[str, list[dict[str, Any]]]:
        """Recordings with footage of the time, by start."""
        _check_order(from_ns, to_ns)
        return {"recordings": [_as_json(found) for found in await service.shelf.between(channel, from_ns, to_ns, limit)]}

    @routes.put("/api/recordings/{recording_id}/lock")
    async def lock(recording_id: str) -> dict[str, Any]:
        """Keep this recording until it is unlocked, whatever the policy."""
        return await _lock(service, recording_id, True)

    @routes.delete("/api/recordings/{recording_id}/lock")
    async def unlock(recording_id: str) -> dict[str, Any]:
        """Give it back to the policy."""
        return await _lock(service, recording_id, False)


def _media(routes: APIRouter, service: StorageService) -> None:
    @routes.get("/api/recordings/{recording_id}/media", response_class=StreamingResponse)
    async def media(
        recording_id: str,
        range_: Annotated[str | None, Header(alias="range")] = None,
        bytes_: Annotated[int | None, Query(alias="bytes", ge=1)] = None,
    ) -> Response:
        """The MP4, with ranges. While it is being written: what is stored so far; `bytes` holds a player to an earlier length."""
        found = await service.reader.media(_known(recording_id))
        if found is None:
            raise HTTPException(404, "there is no such recording")
        recording, size = found.recording, min(found.size_bytes, bytes_ or found.size_bytes)
        headers = {
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, no-cache" if recording.state is State.OPEN else "private, max-age=3600",
        }
        if range_ is None:
            headers["Content-Length"] = str(size)
            return StreamingResponse(await _begun(service.reader.read(recording, 0, size)), 200, headers, "video/mp4")
        wanted = parse_range(range_, size)
        if wanted is None:
            return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
        start, end = wanted
        headers |= {"Content-Range": f"bytes {start}-{end - 1}/{size}", "Content-Length": str(end - start)}
        return StreamingResponse(await _begun(service.reader.read(recording, start, end)), 206, headers, "video/mp4")


def _others(routes: APIRouter, service: StorageService) -> None:
    @routes.get("/api/timeline")
    async def timeline(channel: ChannelId, from_ns: UtcNs, to_ns: UtcNs) -> dict[str, list[dict[str, Any]]]:
        """Stretches of footage; alarm footage on its own."""
        _check_order(from_ns, to_ns)
        return {"spans": [asdict(span) for span in await service.timeline(channel, from_ns, to_ns)]}

    @routes.get("/api/snapshots/{key:path}", response_class=Response)
    async def snapshot(key: str) -> Response:
        """A stored picture."""
        try:
            check_key(key)
        except ObjectStoreError as error:  # no picture can have such a key; the store is not at fault
            raise HTTPException(404, "there is no such snapshot") from error
        try:
            store = await service.buckets.of_snapshot(await service.shelf.snapshot_bucket(key))
            data = b"".join([chunk async for chunk in store.get(key)])
        except ObjectNotFound as error:
            raise HTTPException(404, "there is no such snapshot") from error
        except ObjectStoreError as error:
            raise _unavailable(error.what) from error
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"})

    @routes.get("/api/storage")
    async def storage() -> dict[str, Any]:
        """Room and who has it."""
        space, limits, channels = await service.space()
        return {
            "used_bytes": space.used_bytes,
            "free_bytes": space.free_bytes,
            "total_bytes": space.total_bytes,
            "limit_bytes": limits.max_bytes,
            "min_free_bytes": limits.min_free_bytes,
            "when_full": limits.when_full.value,
            "quota_mode": bool(limits.quotas),
            "groups": [
                {"group": one.name, "bucket": one.bucket, "limit_bytes": one.limit_bytes, "used_bytes": one.usage.total_bytes}
                for one in service.groups()
            ],
            "channels": [
                {"channel": channel, "quota_bytes": limits.quotas.get(channel), "used_bytes": usage.total_bytes, **asdict(usage)}
                for channel, usage in sorted(channels.items())
            ],
        }


def _known(recording_id: str) -> str:
    """The id itself; 404 for what cannot be one, which not every database takes as a question."""
    if not _ID.match(recording_id):
        raise HTTPException(404, "there is no such recording")
    return recording_id


def _check_order(from_ns: int, to_ns: int) -> None:
    if from_ns > to_ns:
        raise HTTPException(422, "from_ns is later than to_ns")


async def _lock(service: StorageService, recording_id: str, locked: bool) -> dict[str, Any]:
    try:
        recording = await service.lock(_known(recording_id), locked)
    except ObjectStoreError as error:
        raise _unavailable(error.what) from error
    if recording is None:
        raise HTTPException(404, "there is no such recording")
    return _as_json(recording)


async def _begun(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same chunks, the first one read already: what is missing becomes a 404 and not a broken answer."""
    try:
        first = await anext(chunks, b"")
    except ObjectNotFound as error:
        raise HTTPException(404, "the recording has just been deleted") from error
    except ObjectStoreError as error:
        raise _unavailable(error.what) from error

    async def all_of_them() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return all_of_them()


def parse_range(text: str, size: int) -> tuple[int, int] | None:
    """(start, end exclusive) of a single byte range (RFC 9110, 14.2); None: it cannot be satisfied. Several ranges: the first."""
    match = _RANGE.match(text.split(",", maxsplit=1)[0].strip())
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
    return (start, end) if start < end else None


def _as_json(recording: Recording) -> dict[str, Any]:
    return {
        "id": recording.id,
        "channel": recording.channel,
        "stream": recording.stream,
        "start_ns": recording.start_ns,
        "end_ns": recording.end_ns,
        "size_bytes": recording.size_bytes,
        "frames": recording.frames,
        "codec": recording.codec,
        "width": recording.width,
        "height": recording.height,
        "kind": (Kind.ALARM if recording.kind is Kind.ALARM else Kind.GENERAL).value,
        "locked": recording.locked,
        "open": recording.state is State.OPEN,
    }
