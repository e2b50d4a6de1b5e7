"""A console on the embedded bus, with small routers in place of the other services: they answer from lists that a test fills."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, Response

from services.console.app import ConsoleService, create
from shared.bus.embedded import EmbeddedBus
from shared.config.site import SiteConfig
from shared.domain.clock import Clock, SystemClock
from shared.domain.media import Picture, Pixels
from shared.messages import (
    ActionKind,
    ActionMessage,
    ActionPhase,
    AlarmMessage,
    AlarmState,
    BoxMessage,
    ChannelState,
    ChannelStatus,
    DetectionsMessage,
    EventKind,
    FrameMessage,
)
from shared.report import Reporter
from shared.service import Health, Runtime

WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CAMERA_PASSWORD = "tiger-in-the-tank"
ZONE = [(0.1, 0.5), (0.7, 0.4), (0.8, 0.95), (0.15, 0.95)]
LINE = [(0.62, 0.05), (0.62, 0.98)]


def site_of(**console: Any) -> SiteConfig:
    """Four channels: a gate with a tripwire and a count, a yard with a zone, one that is offline, one that is not analysed."""

    def camera(number: int, id_: str, name: str, **more: Any) -> dict[str, Any]:
        stream = {"url": f"rtsp://10.77.0.{number}/secret-path", "user": "viewer", "password": CAMERA_PASSWORD}
        return {"id": id_, "number": number, "name": name, "main": stream, **more}

    return SiteConfig.model_validate(
        {
            "site": {"name": "Harbour office", "time_zone": "Europe/Lisbon"},
            "console": {"port": 0, **console},
            "centres": [{"id": "station", "url": "https://centre.example/hook?token=abcdef", "secret": WEBHOOK_SECRET}],
            "channels": [
                camera(
                    1,
                    "gate",
                    "Gate",
                    rules=[
                        {"kind": "tripwire", "id": "fence", "name": "Over the fence", "line": LINE, "direction": "a_to_b"},
                        {"kind": "people_counting", "id": "door", "name": "Front door", "line": [(0.2, 0.8), (0.5, 0.8)]},
                    ],
                ),
                camera(
                    2, "yard", "Yard", rules=[{"kind": "intrusion", "id": "yard", "name": "Yard at night", "zone": ZONE}]
                ),
                camera(3, "quay", "Quay"),
                camera(4, "attic", "Attic <b>&amp;</b>", analysis={"enabled": False}),
            ],
        }
    )  # fmt: skip


@dataclass
class Answers:
    """What the routers in place of storage, alarms and analytics answer. `failure`: what storage and alarms raise instead."""

    recordings: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    snapshots: dict[str, bytes] = field(default_factory=dict)
    alarms: dict[str, AlarmMessage] = field(default_factory=dict)
    counts: list[dict[str, Any]] = field(default_factory=list)
    centres: list[dict[str, Any]] = field(default_factory=list)
    dead_letters: list[dict[str, Any]] = field(default_factory=list)
    storage: dict[str, Any] = field(default_factory=dict)
    failure: Exception | None = None
    health: dict[str, Health] = field(default_factory=lambda: {"storage": Health(True, "well")})


def storage_router(answers: Answers) -> APIRouter:
    router = APIRouter(prefix="/api")

    def matching(channel: str, from_ns: int, to_ns: int) -> list[dict[str, Any]]:
        if answers.failure is not None:
            raise answers.failure
        return [r for r in answers.recordings if r["channel"] == channel and r["end_ns"] > from_ns and r["start_ns"] < to_ns]

    @router.get("/recordings")
    async def recordings(channel: str, from_ns: int, to_ns: int, limit: int = 100) -> dict[str, Any]:
        return {"recordings": matching(channel, from_ns, to_ns)[:limit]}

    @router.get("/recordings/{id_}/media")
    async def media(id_: str) -> FileResponse:
        return FileResponse(answers.files[id_], media_type="video/mp4")

    @router.put("/recordings/{id_}/lock", status_code=204)
    async def lock(id_: str) -> None:
        _set_lock(id_, True)

    @router.delete("/recordings/{id_}/lock", status_code=204)
    async def unlock(id_: str) -> None:
        _set_lock(id_, False)

    def _set_lock(id_: str, locked: bool) -> None:
        for recording in answers.recordings:
            if recording["id"] == id_:
                recording["locked"] = locked

    @router.get("/timeline")
    async def timeline(channel: str, from_ns: int, to_ns: int) -> dict[str, Any]:
        spans = [{"from_ns": r["start_ns"], "to_ns": r["end_ns"], "kind": r["kind"]} for r in matching(channel, from_ns, to_ns)]
        return {"spans": spans}

    @router.get("/snapshots/{key:path}")
    async def snapshot(key: str) -> Response:
        if key not in answers.snapshots:
            raise HTTPException(404, "no such picture")
        return Response(answers.snapshots[key], media_type="image/jpeg")

    @router.get("/storage")
    async def storage() -> dict[str, Any]:
        return answers.storage

    return router


def alarms_router(answers: Answers) -> APIRouter:
    router = APIRouter(prefix="/api")

    @router.get("/alarms")
    async def alarms(channel: str | None = None, from_ns: int = 0, to_ns: int = 2**63, limit: int = 100) -> dict[str, Any]:
        if answers.failure is not None:
            raise answers.failure
        found = [
            alarm
            for alarm in answers.alarms.values()
            if channel in (None, alarm.channel) and alarm.start_ns <= to_ns and (alarm.end_ns or 2**63) >= from_ns
        ]
        return {"alarms": sorted(found, key=lambda alarm: (-alarm.sequence, -alarm.start_ns))[:limit]}

    @router.post("/alarms/{id_}/acknowledge")
    async def acknowledge(id_: str, request: Request) -> AlarmMessage:
        alarm = answers.alarms[id_]
        seen = {"acknowledged_by": request.state.user, "acknowledged_ns": alarm.at_ns, "revision": alarm.revision + 1}
        answers.alarms[id_] = alarm.model_copy(update=seen)
        return answers.alarms[id_]

    @router.get("/centres")
    async def centres() -> dict[str, Any]:
        return {"centres": answers.centres}

    @router.get("/dead-letters")
    async def dead_letters(limit: int = 100) -> dict[str, Any]:
        return {"dead_letters": answers.dead_letters[:limit]}

    @router.post("/dead-letters/replay")
    async def replay(body: dict[str, Any]) -> dict[str, int]:
        sent = [letter for letter in answers.dead_letters if letter["centre"] == body["centre"]]
        answers.dead_letters = [letter for letter in answers.dead_letters if letter not in sent]
        return {"replayed": len(sent)}

    @router.get("/counts")
    async def counts() -> dict[str, Any]:
        return {"counts": answers.counts}

    return router


@dataclass
class Stand:
    """A running console."""

    console: ConsoleService
    bus: EmbeddedBus
    clock: Clock
    answers: Answers
    data_dir: Path

    @property
    def password(self) -> str:
        return (self.data_dir / "admin-password").read_text(encoding="utf-8").strip()

    def client(self, **options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.console.url, timeout=60, **options)

    @asynccontextmanager
    async def logged_in(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client with a session."""
        async with self.client() as client:
            answer = await client.post("/api/session", json={"user": "admin", "password": self.password})
            assert answer.status_code == 200, answer.text
            yield client


@asynccontextmanager
async def running(
    data_dir: Path,
    site: SiteConfig | None = None,
    clock: Clock | None = None,
    storage: APIRouter | None = None,
    *,
    absent: Collection[str] = (),
) -> AsyncIterator[Stand]:
    """A console that serves on a free port until the block ends. `storage`: routes of a real storage service.

    `absent`: the other services are none of this process; those named are asked elsewhere.
    """
    clock = clock or SystemClock()
    bus = EmbeddedBus(clock)
    await bus.start()
    answers = Answers()
    reporter = Reporter(bus.producer, clock, "vedette")
    runtime = Runtime(site or site_of(), bus, clock, data_dir, reporter)

    def health() -> Mapping[str, Health]:
        return {"console": console.health(), **answers.health}

    routers = [] if absent else [storage or storage_router(answers), alarms_router(answers)]
    console = create(runtime, routers, health, absent)
    try:
        await console.start()
        yield Stand(console, bus, clock, answers, data_dir)
    finally:
        await console.stop()
        await bus.stop()


def scene(step: int, width: int = 640, height: int = 360) -> Pixels:
    """I420 of a drawn scene: sky, ground, and a figure that walks to the right, 8 px a step."""
    luma = np.empty((height, width), np.uint8)
    luma[:] = np.linspace(70, 130, height, dtype=np.uint8)[:, None]
    luma[height * 6 // 10 :] = np.linspace(60, 95, width, dtype=np.uint8)[None, :]
    x = figure_x(step, width)
    luma[150:300, x : x + 44] = 205
    luma[110:150, x + 10 : x + 34] = 225
    chroma = np.full((height // 2, width), 128, np.uint8)
    return np.concatenate([luma, chroma])


def figure_x(step: int, width: int = 640) -> int:
    """Left edge of the figure, px."""
    return (40 + 8 * step) % (width - 60)


def frame(channel: str, number: int, step: int, capture_ns: int, i420: Pixels | None = None) -> FrameMessage:
    pixels = scene(step) if i420 is None else i420
    picture = Picture(pixels.shape[1], pixels.shape[0] * 2 // 3, pixels)
    return FrameMessage(
        channel=channel, channel_number=number, session="s", sequence=step, capture_ns=capture_ns, published_ns=capture_ns,
        source_width=1920, source_height=1080, picture=picture,
    )  # fmt: skip


def boxes(channel: str, number: int, step: int, capture_ns: int) -> DetectionsMessage:
    """The box of the figure in `scene(step)`."""
    x = figure_x(step)
    box = BoxMessage(track_id=1, target="human", score=0.91, x1=x / 640, y1=110 / 360, x2=(x + 44) / 640, y2=300 / 360)
    return DetectionsMessage(channel=channel, channel_number=number, capture_ns=capture_ns, frame_sequence=step, boxes=(box,))


def status(channel: str, number: int, now_ns: int, state: ChannelState = ChannelState.ONLINE, **more: Any) -> ChannelStatus:
    values: dict[str, Any] = {"codec": "h264", "width": 1920, "height": 1080, "fps": 25.0, "bitrate_bps": 4.1e6}
    values |= {"since_ns": now_ns, "at_ns": now_ns, **more}
    return ChannelStatus(device="vedette", channel=channel, channel_number=number, state=state, **values)


def alarm(alarm_id: str, channel: str, number: int, start_ns: int, **more: Any) -> AlarmMessage:
    values: dict[str, Any] = {"kind": EventKind.TRIPWIRE, "source": "fence", "state": AlarmState.RAISED, "hits": 1, "at_ns": start_ns}
    values |= {"target": "human", "direction": "a_to_b", "snapshot_at_ns": start_ns, **more}
    return AlarmMessage(alarm_id=alarm_id, event_id=alarm_id, channel=channel, channel_number=number, start_ns=start_ns, **values)


def notice(action_id: str, channel: str, number: int, at_ns: int, text: str) -> ActionMessage:
    return ActionMessage(
        channel=channel, channel_number=number, action_id=action_id, alarm_id="a1", action=ActionKind.SHOW_MESSAGE,
        phase=ActionPhase.REQUESTED, at_ns=at_ns, text=text,
    )  # fmt: skip


def write_mp4(path: Path, seconds: int, *, fps: int = 10, first_step: int = 0) -> Path:
    """A small H.264 file of the drawn scene, as storage keeps them."""
    with av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}) as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "g": str(fps)})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for step in range(seconds * fps):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene(first_step + step), format="yuv420p")))
        container.mux(stream.encode(None))
    return path


def recording(id_: str, channel: str, start_ns: int, seconds: int, *, kind: str = "general", **more: Any) -> dict[str, Any]:
    end_ns = start_ns + seconds * 1_000_000_000
    return {
        "id": id_, "channel": channel, "stream": "main", "start_ns": start_ns, "end_ns": end_ns, "size_bytes": 120_000,
        "frames": seconds * 10, "codec": "h264", "width": 640, "height": 360, "kind": kind, "locked": False, "open": False, **more,
    }  # fmt: skip
