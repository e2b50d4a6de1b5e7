"""The live side: what comes from the bus goes to every open page, each at its own speed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from services.console import metrics
from services.console.auth import Authority
from services.console.core.outbox import LivePicture, Outbox
from services.console.core.sessions import Session
from services.console.pictures import Pictures
from services.console.state import LiveState, Text, envelope
from shared.bus.port import Bus, Consumer
from shared.domain.clock import Clock
from shared.messages import FrameMessage, Message
from shared.supervise import Supervisor
from shared.topics import ACTIONS, ALARMS, CHANNEL_STATUS, DETECTIONS, EVENTS, FRAMES, RECORDINGS, Topic

log = structlog.get_logger(__name__)

MAX_VIEWERS = 64
#: A browser that takes nothing for this long is gone.
SEND_TIMEOUT_S = 30.0
#: How often sessions of open sockets are looked at.
SESSION_CHECK_S = 5.0
#: How often pages hear of the recorder, also when nothing happens (`BEAT_MS` of the page: static/app/js/live.js).
BEAT_S = 2.0

#: WebSocket close codes: going away, try again later (RFC 6455 registry), and our own "log in again".
GOING_AWAY, TRY_LATER, LOGGED_OUT = 1001, 1013, 4401


class Subscribe(BaseModel):
    """The page asks for pictures of these channels, in place of those it asked for before.

    `window`: how many pictures may be under way before the page has said `drawn`; none: as many as fit the line.
    """

    model_config = ConfigDict(extra="ignore")

    type: Literal["subscribe"]
    channels: tuple[str, ...] = Field(max_length=256)
    max_fps: float = Field(default=10, gt=0, le=60)
    window: int | None = Field(default=None, ge=1, le=1024)


class Drawn(BaseModel):
    """The page has drawn so many pictures since it last said so."""

    type: Literal["drawn"]
    count: int = Field(default=1, ge=1, le=1024)


_REQUEST: TypeAdapter[Subscribe | Drawn] = TypeAdapter(Annotated[Subscribe | Drawn, Field(discriminator="type")])


#: Ask the API again.
_RESYNC = envelope("resync", "{}")
#: The recorder is there. Browsers keep the protocol's own pings from the page.
_BEAT = Text("beat", envelope("beat", "{}"))


class Viewer:
    """One open page."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.outbox = Outbox()
        self.wake = asyncio.Event()
        self.closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.gone = asyncio.Event()
        self._told_states_lost = 0

    def tell(self, text: Text) -> None:
        if text.key is None:
            self.outbox.put_notice(text.json)
        else:
            self.outbox.put_state(text.key, text.json)
        if self.outbox.dropped_states > self._told_states_lost:
            self._told_states_lost = self.outbox.dropped_states
            self.outbox.put_lost(_RESYNC)
        self.wake.set()

    def read_again(self) -> None:
        """What the page knows may be old: it asks the API."""
        self.outbox.put_lost(_RESYNC)
        self.wake.set()

    def close(self, code: int) -> None:
        if not self.closed.done():
            self.closed.set_result(code)


class Hub:
    """Reads the bus once for all pages. `start` joins the bus, `stop` closes every page's socket."""

    def __init__(self, bus: Bus, clock: Clock, state: LiveState, authority: Authority, supervisor: Supervisor) -> None:
        self._bus, self._clock, self._state, self._authority = bus, clock, state, authority
        self._supervisor = supervisor
        self.pictures = Pictures(state.channels, clock)
        self._viewers: set[Viewer] = set()
        self._joined: dict[str, Consumer] = {}

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    async def start(self) -> None:
        """Raises: BusUnavailable."""
        self.pictures.start()
        facts: tuple[Topic[Any], ...] = (DETECTIONS, ALARMS, ACTIONS, CHANNEL_STATUS, EVENTS, RECORDINGS)
        for name, topics, take in (("frames", (FRAMES,), self._take_frame), ("facts", facts, self._take_fact)):
            # Joined here, so that nothing published after `start` is missed; a loop that failed joins anew, and one whose bus is away
            # when that comes back: the page is there meanwhile.
            if not self._bus.trouble():
                self._joined[name] = await self._bus.consumer(topics, group=None)
            self._supervisor.spawn(f"console.{name}", partial(self._read, name, topics, take))
        for channel in self._state.channels:
            self._begin_to_show(channel)
        self._supervisor.spawn("console.sessions", self._watch_sessions)
        self._supervisor.spawn("console.beats", self._beat)

    def _begin_to_show(self, channel: str) -> None:
        self._supervisor.spawn(_pictures_of(channel), partial(self._show, channel))

    async def reconfigure(self, told: Text) -> None:
        """The channels are those of the state from here on; every page is `told`."""
        before, now = self.pictures.channels, frozenset(self._state.channels)
        for channel in before - now:
            await self._supervisor.cancel(_pictures_of(channel))
        self.pictures.reconfigure(self._state.channels)
        for channel in now - before:
            self._begin_to_show(channel)
        for viewer in self._viewers:
            viewer.tell(told)

    async def stop(self) -> None:
        """Returns when every page was told that the console goes: the server would cut them with another word. Idempotent."""
        pages = tuple(self._viewers)
        for viewer in pages:
            viewer.close(GOING_AWAY)
        for viewer in pages:
            await viewer.gone.wait()
        await self._supervisor.stop()
        for consumer in self._joined.values():
            await consumer.close()
        self._joined.clear()
        self.pictures.stop()

    def close_session(self, session: Session) -> None:
        """Somebody logged out: their pages close."""
        for viewer in self._viewers:
            if viewer.session.id == session.id:
                viewer.close(LOGGED_OUT)

    async def serve(self, socket: WebSocket) -> None:
        """One page, until it leaves, its session ends or the console stops."""
        await socket.accept()
        if self.viewers >= MAX_VIEWERS:
            await socket.close(TRY_LATER, "too many pages are open")
            return
        viewer = Viewer(socket.state.session)
        for text in self._state.greeting():
            viewer.tell(text)
        self._viewers.add(viewer)
        metrics.VIEWERS.set(self.viewers)
        try:
            await self._accompany(viewer, socket)
        finally:
            self._viewers.discard(viewer)
            metrics.VIEWERS.set(self.viewers)
            metrics.PICTURES_REPLACED.inc(viewer.outbox.dropped_pictures)
            viewer.gone.set()

    async def _accompany(self, viewer: Viewer, socket: WebSocket) -> None:
        """Until the page has left, or was told why it must; that takes a second at most."""
        tasks: list[asyncio.Future[None]] = [
            asyncio.create_task(self._send(viewer, socket)),
            asyncio.create_task(self._receive(viewer, socket)),
        ]
        try:
            waiting: list[asyncio.Future[Any]] = [*tasks, viewer.closed]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, WebSocketDisconnect | TimeoutError | OSError):
                log.error("a live socket failed", exc_info=result)
        code = viewer.closed.result() if viewer.closed.done() else GOING_AWAY
        with contextlib.suppress(TimeoutError, OSError, RuntimeError, WebSocketDisconnect):  # it may have left already
            async with asyncio.timeout(1.0):
                await socket.close(code)

    async def _send(self, viewer: Viewer, socket: WebSocket) -> None:
        while True:
            viewer.wake.clear()
            while (item := viewer.outbox.take()) is not None:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    if isinstance(item, LivePicture):
                        await socket.send_bytes(item.wire)
                        metrics.PICTURES_SENT.labels(item.channel).inc()
                    else:
                        await socket.send_text(item)
            await viewer.wake.wait()

    async def _receive(self, viewer: Viewer, socket: WebSocket) -> None:
        while True:
            try:
                request = _REQUEST.validate_json(await socket.receive_text())
            except (ValidationError, KeyError):  # KeyError: Starlette's answer to a binary message
                viewer.tell(Text(None, envelope("error", '{"detail":"this message was not understood"}')))
                continue
            if isinstance(request, Subscribe):
                wanted = {channel: request.max_fps for channel in request.channels if channel in self.pictures.channels}
                viewer.outbox.subscribe(wanted, request.window)
                for channel in wanted:
                    self.pictures.nudge(channel)
            else:
                viewer.outbox.drawn(request.count)
            viewer.wake.set()

    async def _read(self, name: str, topics: tuple[Topic[Any], ...], take: Callable[[Message], None]) -> None:
        consumer = self._joined.get(name)
        if consumer is None:
            consumer = await self._bus.consumer(topics, group=None)
            for viewer in self._viewers:  # what was published since it failed is not read
                viewer.read_again()
        self._joined[name] = consumer
        try:
            while True:
                for record in await consumer.poll(timeout_s=1.0):
                    take(record.message)
        finally:
            self._joined.pop(name, None)
            await consumer.close()

    def _take_frame(self, message: Message) -> None:
        if isinstance(message, FrameMessage):
            self._state.frame(message)
            self.pictures.offer(message)

    def _take_fact(self, message: Message) -> None:
        text = self._state.take(message)
        if text is not None:
            for viewer in self._viewers:
                viewer.tell(text)

    async def _show(self, channel: str) -> None:
        """Pictures of one channel to the pages that want them. One slow encode delays only its channel."""
        while True:
            await self.pictures.next(channel)
            now_ns = self._clock.monotonic_ns()
            if not any(viewer.outbox.wants(channel, now_ns) for viewer in self._viewers):
                continue
            latest = await self.pictures.latest(channel)
            if latest is None:
                continue
            now_ns = self._clock.monotonic_ns()
            for viewer in self._viewers:
                if viewer.outbox.put_picture(latest[0], now_ns):
                    viewer.wake.set()

    async def _watch_sessions(self) -> None:
        while True:
            await self._clock.sleep(SESSION_CHECK_S)
            for viewer in self._viewers:
                if not self._authority.still_open(viewer.session):
                    viewer.close(LOGGED_OUT)

    async def _beat(self) -> None:
        while True:
            await self._clock.sleep(BEAT_S)
            for viewer in self._viewers:
                viewer.tell(_BEAT)


def _pictures_of(channel: str) -> str:
    """The name of a channel's loop."""
    return f"console.pictures.{channel}"
