"""What analytics does when its model or its detector fails: it says so, tries again, and tells when it works again."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from services.analytics import metrics
from services.analytics.adapters.export import export_path
from services.analytics.app import AnalyticsService, create
from services.analytics.detection import SOURCE as DETECTOR
from services.analytics.preparation import SOURCE as MODEL
from shared.bus.embedded import EmbeddedBus
from shared.bus.port import Consumer
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S, Clock, ManualClock, SystemClock
from shared.messages import EventMessage, EventPhase, FrameMessage
from shared.report import Reporter
from shared.service import Runtime
from shared.topics import EVENTS, FRAMES
from tests.support.analysis import plain_picture, touchy_model, weights
from tests.support.waiting import until

pytestmark = pytest.mark.integration

SMALL = {"input_width": 160, "input_height": 96}
DARK, BRIGHT = 40, 235


@pytest.fixture
async def bus() -> AsyncIterator[EmbeddedBus]:
    bus = EmbeddedBus(SystemClock())
    await bus.start()
    yield bus
    await bus.stop()


def service(bus: EmbeddedBus, folder: Path, clock: Clock, **analytics: object) -> AnalyticsService:
    channel = {"id": "room", "number": 3, "main": {"url": "rtsp://camera/room"}}
    config = SiteConfig.model_validate({"data_dir": folder, "channels": [channel], "analytics": {**SMALL, **analytics}})
    return create(Runtime(config, bus, clock, folder, Reporter(bus.producer, clock, "test")))


class Camera:
    """Publishes frames of one level, and collects the exceptions that are told."""

    def __init__(self, bus: EmbeddedBus, events: Consumer) -> None:
        self._bus, self._events, self._sequence = bus, events, 0
        self.told: list[tuple[str, EventPhase]] = []
        self.messages: list[str] = []

    async def show(self, level: int) -> None:
        now_ns = SystemClock().now_ns()
        self._sequence += 1
        frame = FrameMessage(
            channel="room", channel_number=3, session="s", sequence=self._sequence, published_ns=now_ns, capture_ns=now_ns,
            source_width=160, source_height=96, picture=plain_picture(level),
        )  # fmt: skip
        await self._bus.producer.publish(FRAMES, frame)

    async def hear(self) -> list[tuple[str, EventPhase]]:
        for record in await self._events.poll(timeout_s=0):
            if isinstance(record.message, EventMessage):
                self.told.append((record.message.source, record.message.phase))
                self.messages.append(record.message.message)
        return self.told


async def test_a_detector_that_fails_is_told_made_anew_and_works_again(bus: EmbeddedBus, tmp_path: Path) -> None:
    camera = Camera(bus, await bus.consumer([EVENTS], group=None))
    model = touchy_model(tmp_path / "touchy.onnx")
    analytics = service(bus, tmp_path, SystemClock(), model=str(model), engine="onnx", motion_gate=False)
    failures = metrics.DETECTOR_FAILURES._value.get()
    await analytics.start()
    try:
        await until(lambda: analytics.health().ok, "the detector is ready")

        async def fails() -> bool:
            await camera.show(BRIGHT)
            return (DETECTOR, EventPhase.STARTED) in await camera.hear()

        await until(fails, "the failure is told")
        health = analytics.health()
        assert not health.ok
        assert "out of data bounds" in health.summary
        assert "out of data bounds" in camera.messages[0]
        assert metrics.DETECTOR_FAILURES._value.get() > failures

        async def works() -> bool:
            await camera.show(DARK)
            return (DETECTOR, EventPhase.ENDED) in await camera.hear()

        await until(works, "it works again")
        assert camera.told == [(DETECTOR, EventPhase.STARTED), (DETECTOR, EventPhase.ENDED)]
        assert analytics.health().ok
        assert analytics.health().details["detector_failures"] == metrics.DETECTOR_FAILURES._value.get() - failures
    finally:
        await analytics.stop()


async def test_a_model_that_is_mended_is_taken_with_the_next_attempt(bus: EmbeddedBus, tmp_path: Path) -> None:
    camera, clock = Camera(bus, await bus.consumer([EVENTS], group=None)), ManualClock()
    model = tmp_path / "mine.onnx"
    model.write_bytes(b"not whole")
    analytics = service(bus, tmp_path, clock, model=str(model), engine="onnx")
    await analytics.start()
    try:
        await until(camera.hear, "the model is told of")
        assert camera.told == [(MODEL, EventPhase.STARTED)]
        assert "cannot load" in analytics.health().summary
        assert model.read_bytes() == b"not whole", "a file of the user is never removed"
        touchy_model(model)

        async def ready() -> bool:
            clock.advance(1.0)
            return (MODEL, EventPhase.ENDED) in await camera.hear() and analytics.health().ok

        await until(ready, "the mended model is taken")
        told = [one for one in camera.told if one[1] is not EventPhase.UPDATED]  # a long attempt is told again meanwhile
        assert told == [(MODEL, EventPhase.STARTED), (MODEL, EventPhase.ENDED)]
    finally:
        await analytics.stop()


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
async def test_a_damaged_export_in_the_cache_is_made_again(bus: EmbeddedBus, tmp_path: Path, engine: str) -> None:
    models = tmp_path / "models"
    models.mkdir()
    shutil.copy(weights(), models)
    export = export_path(models / "yolov8n.pt", cache=models, **SMALL)
    export.parent.mkdir()
    export.write_bytes(b"cut off")
    camera = Camera(bus, await bus.consumer([EVENTS], group=None))
    analytics = service(bus, tmp_path, SystemClock(), models_dir=str(models), engine=engine)
    await analytics.start()
    try:
        await until(lambda: analytics.health().ok, "the model is exported again", deadline_s=240)
        assert await camera.hear() == []
        assert export.stat().st_size > 1_000_000
    finally:
        await analytics.stop()


def exporting(parent: psutil.Process) -> list[psutil.Process]:
    """The process that exports, once it is there, with the one that has started it (servers of other tests are children here as well)."""
    children = [child for child in parent.children(recursive=True) if "_process" in command(child)]
    return children if any("export_process" in command(child) for child in children) else []


def command(process: psutil.Process) -> str:
    """Empty when it has ended meanwhile."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def leftovers(models: Path) -> list[str]:
    return [path.name for path in models.rglob("*") if path.name.startswith((".export-", ".fetch-")) or path.suffix == ".onnx"]


async def test_stopped_during_the_export_nothing_is_left(bus: EmbeddedBus, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    shutil.copy(weights(), models)
    analytics = service(bus, tmp_path, SystemClock(), models_dir=str(models), engine="onnx")
    await analytics.start()
    try:
        children = await until(lambda: exporting(psutil.Process()), "the export has begun", deadline_s=240)
        await until(lambda: list(models.rglob("weights.pt")), "it works on its copy")
        next(child for child in children if "export_process" in command(child)).suspend()  # it takes seconds, and we perhaps more
        assert "preparing the model" in analytics.health().summary
    finally:
        async with asyncio.timeout(60):
            await analytics.stop()
    assert not [child for child in children if child.is_running()]
    assert leftovers(models) == []


def test_killed_during_the_export_no_process_is_left_and_the_next_export_sweeps(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    shutil.copy(weights(), models)
    program = (
        "import asyncio, sys\n"
        "from services.analytics.preparation import Preparation\n"
        "from shared.config.services import AnalyticsConfig\n"
        "from shared.domain.clock import SystemClock\n"
        "asyncio.run(Preparation(AnalyticsConfig.model_validate_json(sys.argv[1]), SystemClock(), None).run())\n"
    )
    config = json.dumps({**SMALL, "models_dir": str(models), "engine": "onnx"})
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, "-c", program, config], cwd=root, env=environment) as process:
        children = asyncio.run(until(lambda: exporting(psutil.Process(process.pid)), "the export has begun", deadline_s=240))
        process.kill()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    assert leftovers(models) == []


async def test_frames_of_a_channel_without_analysis_are_not_even_decoded(bus: EmbeddedBus, tmp_path: Path) -> None:
    model = touchy_model(tmp_path / "touchy.onnx")
    watched = {"id": "hall", "number": 4, "main": {"url": "rtsp://camera/hall"}, "analysis": {"enabled": False}}
    config = SiteConfig.model_validate(
        {"data_dir": tmp_path, "channels": [watched], "analytics": {**SMALL, "model": str(model), "engine": "onnx"}}
    )
    analytics = create(Runtime(config, bus, SystemClock(), tmp_path, Reporter(bus.producer, SystemClock(), "test")))
    await analytics.start()
    try:
        await until(lambda: analytics.health().ok, "the detector is ready")
        now_ns = SystemClock().now_ns()
        for channel in ("hall", "of another site"):
            frame = FrameMessage(
                channel=channel, channel_number=4, session="s", sequence=1, published_ns=now_ns, capture_ns=NS_PER_S,
                source_width=160, source_height=96, picture=plain_picture(DARK),
            )  # fmt: skip
            assert await analytics.on_frame(frame) == []
        details = analytics.health().details
        assert (details["frames"], details["dropped"], details["channels"]) == (0, 0, 0)
    finally:
        await analytics.stop()
