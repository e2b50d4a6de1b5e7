"""HTTP API of the alarm service. No authentication here: the console includes this router behind its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from services.alarms.adapters.rows import Delivery
from services.alarms.app import AlarmService
from shared.domain.errors import CatalogueError, DestinationGone, VedetteError
from shared.domain.redact import redact
from shared.messages import AlarmMessage, AlarmState, EventKind, EventMessage

_NO_CONTROLS = r"^[^\x00-\x1f]*$"
Limit = Annotated[int, Query(ge=1, le=1000)]
#: What the book's columns can hold.
UtcNs = Annotated[int, Query(ge=0, le=2**63 - 1, description="UTC nanoseconds since the epoch")]
Name = Annotated[str, Field(max_length=64, pattern=_NO_CONTROLS)]


class Alarms(BaseModel):
    alarms: list[AlarmMessage]


class EventView(BaseModel):
    """An event after its latest message. `alarm_id` null: it raised no alarm (outside its schedule, or only a count)."""

    event: EventMessage
    alarm_id: str | None


class Events(BaseModel):
    events: list[EventView]


class Acknowledgement(BaseModel):
    note: Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")] = ""


class CentreView(BaseModel):
    """A centre. `disabled`: why it is told nothing, empty: it is told. `queued`: messages that wait."""

    id: str
    queued: int
    disabled: str


class Centres(BaseModel):
    centres: list[CentreView]


class DeadLetterView(BaseModel):
    """A message that was given up: when, why, after how many attempts, and what it says."""

    id: str
    centre: str
    channel: str
    alarm_id: str
    change: str
    queued_ns: int
    given_up_ns: int
    attempts: int
    error: str
    event: dict[str, Any]


class DeadLetters(BaseModel):
    dead_letters: list[DeadLetterView]


class Replay(BaseModel):
    """Which dead letters to send again; `ids` null: all of the centre."""

    centre: Name
    ids: Annotated[list[Name], Field(max_length=1000)] | None = None


class Replayed(BaseModel):
    replayed: int


class LogLine(BaseModel):
    at_ns: int
    channel: str
    alarm_id: str
    text: str


class Log(BaseModel):
    entries: list[LogLine]


class _BookRoute(APIRoute):
    """A route that answers 503 while the alarm book cannot be used."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_or_say(request: Request) -> Response:
            try:
                return await handle(request)
            except CatalogueError as error:
                raise HTTPException(503, redact(str(error)), {"retry-after": "10"}) from error

        return handle_or_say


def router(service: AlarmService) -> APIRouter:
    """Alarms, centres, dead letters and the system log."""
    routes = APIRouter(prefix="/api", tags=["alarms"], route_class=_BookRoute)
    _add_alarms(routes, service)
    _add_centres(routes, service)

    @routes.get("/log")
    async def system_log(limit: Limit = 100) -> Log:
        """The system log, newest first."""
        async with service.book.read() as page:
            entries = await page.log_entries(limit)
        return Log(entries=[LogLine(at_ns=e.at_ns, channel=e.channel, alarm_id=e.alarm_id, text=e.text) for e in entries])

    return routes


def _add_alarms(routes: APIRouter, service: AlarmService) -> None:
    @routes.get("/alarms")
    async def alarms(
        channel: Name | None = None,
        kind: EventKind | None = None,
        state: AlarmState | None = None,
        from_ns: UtcNs | None = None,
        to_ns: UtcNs | None = None,
        limit: Limit = 100,
    ) -> Alarms:
        """Alarms that overlap the time from `from_ns` to `to_ns`, the one that was raised last first."""
        async with service.book.read() as page:
            found = await page.search(channel=channel, kind=kind, state=state, from_ns=from_ns, to_ns=to_ns, limit=limit)
        return Alarms(alarms=[alarm.as_message() for alarm in found])

    @routes.get("/events")
    async def events(
        channel: Name | None = None,
        kind: EventKind | None = None,
        source: Name | None = None,
        from_ns: UtcNs | None = None,
        to_ns: UtcNs | None = None,
        limit: Limit = 100,
    ) -> Events:
        """Events that began between `from_ns` and `to_ns`, newest first, whether they raised an alarm or not."""
        async with service.book.read() as page:
            found = await page.search_events(channel=channel, kind=kind, source=source, from_ns=from_ns, to_ns=to_ns, limit=limit)
        return Events(events=[EventView(event=event, alarm_id=alarm_id) for event, alarm_id in found])

    @routes.get("/alarms/{alarm_id}")
    async def alarm(alarm_id: Name) -> AlarmMessage:
        """One alarm."""
        async with service.book.read() as page:
            found = await page.alarm(alarm_id)
        if found is None:
            raise HTTPException(404, "there is no such alarm")
        return found.as_message()

    @routes.post("/alarms/{alarm_id}/acknowledge")
    async def acknowledge(alarm_id: Name, body: Acknowledgement, request: Request) -> AlarmMessage:
        """Say that you have seen it. The first acknowledgement stays."""
        await service.acknowledge(alarm_id, str(getattr(request.state, "user", "unknown")), body.note)
        return await alarm(alarm_id)  # as it is in the book, under its revision


def _add_centres(routes: APIRouter, service: AlarmService) -> None:
    @routes.get("/centres")
    async def centres() -> Centres:
        """Where alarms are reported to."""
        states = service.dispatcher.centres()
        return Centres(centres=[CentreView(id=state.id, queued=state.queued, disabled=state.disabled) for state in states])

    @routes.post("/centres/{centre}/enable", status_code=204)
    async def enable(centre: Name) -> None:
        """Tell a centre again that had answered 410."""
        try:
            await service.dispatcher.enable(centre)
        except CatalogueError:
            raise
        except VedetteError as error:
            raise HTTPException(404, str(error)) from error

    @routes.get("/dead-letters")
    async def dead_letters(centre: Name | None = None, limit: Limit = 100) -> DeadLetters:
        """Messages that were given up, newest first."""
        async with service.book.read() as page:
            letters = await page.dead_letters(centre, limit)
        return DeadLetters(dead_letters=[_letter_view(letter) for letter in letters])

    @routes.post("/dead-letters/replay")
    async def replay(body: Replay) -> Replayed:
        """Send dead letters again, the oldest first, as many as the queue has room for."""
        try:
            return Replayed(replayed=await service.dispatcher.replay(body.centre, body.ids))
        except DestinationGone as error:
            raise HTTPException(409, str(error)) from error
        except CatalogueError:
            raise
        except VedetteError as error:
            raise HTTPException(404, str(error)) from error


def _letter_view(letter: Delivery) -> DeadLetterView:
    return DeadLetterView(
        id=letter.delivery_id,
        centre=letter.centre,
        channel=letter.channel,
        alarm_id=letter.alarm_id,
        change=letter.change,
        queued_ns=letter.queued_ns,
        given_up_ns=letter.settled_ns or 0,
        attempts=letter.attempts,
        error=letter.error,
        event=json.loads(letter.body),
    )
