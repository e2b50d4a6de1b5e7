"""One simulated camera: its file, its account, its faults, and the count of what it sent to whom."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from services.cli.demo.faults import CloseConnections, Fault, FaultState, ScriptedFault, SwitchSource
from services.cli.demo.playback import ClientStats, Cursor, PacketSink, Playback, SentFrame, Timeline
from services.cli.demo.rtsp_auth import Credentials
from services.cli.demo.source import MediaSource, load_source
from shared.domain.clock import Clock, seconds_to_ns

_KEPT_CLIENTS = 256  # statistics of so many past clients are kept


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """How a camera is to behave.

    path: RTSP path with leading slash (`/cam1/sub`). loop: repeat the file with continuing timestamps, else end the
    connection after one pass. live: all clients, and all live cameras of a server (so a main and its sub stream), share one
    position, and a client joins at the next key frame; else each client
    gets the file from its first frame. speed: pace relative to real time (capture times keep media pace).
    report_interval_s: media seconds between sender reports. script: faults at set media times, each fires once.
    """

    path: str
    file: Path
    loop: bool = True
    live: bool = False
    credentials: Credentials | None = None
    speed: float = 1.0
    report_interval_s: float = 5.0
    session_timeout_s: int = 60
    seed: int = 0
    script: tuple[ScriptedFault, ...] = ()
    on_frame: Callable[[SentFrame], None] | None = None


@dataclass(frozen=True, slots=True)
class CameraStats:
    """Copies of all clients' counters, oldest first; at most the last 256."""

    clients: tuple[ClientStats, ...]

    @property
    def video_frames_sent(self) -> int:
        """Pictures sent to all clients together."""
        return sum(client.video_frames_sent for client in self.clients)

    @property
    def playing(self) -> int:
        """Clients that are being sent to now."""
        return sum(1 for client in self.clients if not client.ended)


class Cuttable(Protocol):
    """A connection that the camera can end."""

    def cut(self, *, abrupt: bool) -> None: ...


class SimulatedCamera:
    """State of one camera. Belongs to the event loop of its server."""

    def __init__(self, spec: CameraSpec, source: MediaSource, clock: Clock, live_since: Timeline) -> None:
        if spec.loop is False and spec.live:
            raise ValueError("a live camera has no end: live needs loop")
        if spec.speed <= 0:
            raise ValueError("speed is above 0")
        self.spec, self.path = spec, spec.path
        self.source = source
        self.faults = FaultState()
        self.connections: set[Cuttable] = set()
        self._clock = clock
        self._rng = random.Random(spec.seed)
        self.sdp_id = self._rng.getrandbits(31)
        self._live_timeline = replace(live_since, speed=spec.speed)
        self._clients: deque[ClientStats] = deque(maxlen=_KEPT_CLIENTS)
        self._made = 0
        self._script = sorted(spec.script, key=lambda step: step.at_s)
        self._waiters: list[tuple[Callable[[CameraStats], bool], asyncio.Future[CameraStats]]] = []

    @property
    def loop(self) -> bool:
        return self.spec.loop

    @property
    def live(self) -> bool:
        return self.spec.live

    @property
    def credentials(self) -> Credentials | None:
        return self.spec.credentials

    @property
    def report_interval_s(self) -> float:
        return self.spec.report_interval_s

    @property
    def session_timeout_s(self) -> int:
        return self.spec.session_timeout_s

    def refusing(self) -> bool:
        """Whether new requests are dropped now."""
        return self.faults.refusing(self._clock.monotonic_ns())

    def _timeline_now(self) -> Timeline:
        return Timeline(self._clock.monotonic_ns(), self._clock.now_ns(), self.spec.speed)

    def new_playback(self, sink: PacketSink, tracks: frozenset[int], transport: str) -> Playback:
        """A playback for a client that says PLAY now."""
        cursor = Cursor(self.source)
        timeline = self._live_timeline if self.live else self._timeline_now()
        if self.live:
            elapsed_ns = self._clock.monotonic_ns() - timeline.monotonic_ns
            cursor.seek_key(round(elapsed_ns * self.spec.speed))
        self._made += 1
        stats = ClientStats(self._made, transport)
        self._clients.append(stats)
        return Playback(
            camera=self,
            sink=sink,
            clock=self._clock,
            timeline=timeline,
            cursor=cursor,
            tracks=tracks,
            stats=stats,
            rng=random.Random(self._rng.getrandbits(64)),
            changed=self._changed,
            on_frame=self.spec.on_frame,
        )

    def playback_ended(self, playback: Playback) -> None:
        """Note that a client gets nothing any more."""
        playback.stats.ended = True
        self._changed()

    async def apply(self, fault: Fault) -> None:
        """Make a fault happen now.

        Raises:
            CameraStreamError: the file of a `SwitchSource` cannot be served.
        """
        self.faults.apply(fault, self._clock.monotonic_ns())
        match fault:
            case SwitchSource(file):
                self.source = await asyncio.to_thread(load_source, file)
            case CloseConnections(abrupt):
                for connection in tuple(self.connections):
                    connection.cut(abrupt=abrupt)

    async def run_script(self, media_ns: int) -> None:
        """Apply scripted faults that are due at this media time."""
        while self._script and seconds_to_ns(self._script[0].at_s) <= media_ns:
            await self.apply(self._script.pop(0).fault)

    def stats(self) -> CameraStats:
        """The counters as they are now."""
        return CameraStats(tuple(replace(client) for client in self._clients))

    async def wait_until(self, predicate: Callable[[CameraStats], bool]) -> CameraStats:
        """The first counters that satisfy a predicate, looked at after every frame. Give it a deadline outside."""
        if predicate(now := self.stats()):
            return now
        future: asyncio.Future[CameraStats] = asyncio.get_running_loop().create_future()
        self._waiters.append((predicate, future))
        return await future

    def _changed(self) -> None:
        if not self._waiters:
            return
        now = self.stats()
        for predicate, future in self._waiters:
            if not future.done() and predicate(now):
                future.set_result(now)
        self._waiters = [waiter for waiter in self._waiters if not waiter[1].done()]
