"""`vedette run` while Kafka is away from the start: it records into the spool, says so, and hands all over when Kafka comes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.cli.demo.faults import Refuse, ScriptedFault
from services.cli.demo.simulated import CameraSpec
from tests.support.clips import make_clip
from tests.support.kafka import KafkaMissing, KafkaServer
from tests.support.ports import free_port
from tests.support.recorder import Recorder, count_frames
from tests.support.rtsp import camera_simulator
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.servers]

FPS, SECONDS = 10, 30
#: With why, as far as the first attempt has told.
WAITS = r"bus: kafka 127\.0\.0\.1:{port}: (the broker does not answer .*|no answer yet); it is tried again, and recordings wait"


@pytest.fixture
def vedette(tmp_path: Path) -> Iterator[tuple[Recorder, int, Path]]:
    """A recorder on a Kafka that is not there, its port, and the folder of its spool."""
    clip, port = make_clip(tmp_path / "clip.mp4", seconds=SECONDS, fps=FPS, gop=FPS), free_port()
    only_once = ScriptedFault(at_s=1.0, fault=Refuse())  # Kafka may come when the clip is over: it is not sent again
    with camera_simulator(CameraSpec("/gate", clip, loop=False, script=(only_once,))) as simulator:
        site: dict[str, Any] = {
            "bus": {"kind": "kafka", "brokers": [f"127.0.0.1:{port}"]},
            "channels": [{"id": "gate", "number": 1, "main": {"url": simulator.url("/gate")}, "analysis": {"enabled": False}}],
        }
        running = Recorder(tmp_path, site)
        try:
            running.start()
            yield running, port, running.data_dir / "spool" / "gate"
        finally:
            running.kill()


def test_recordings_without_a_gap_appear_when_kafka_comes(vedette: tuple[Recorder, int, Path], tmp_path: Path) -> None:
    recorder, port, spool = vedette
    wait_for(lambda: len(list(spool.glob("*.mp4"))) >= 3, what="segments wait in the spool")
    assert re.search(WAITS.format(port=port), recorder.log())
    wait_for(lambda: "the broker does not answer" in summary(recorder, "bus"), what="the page says why the bus is not there")
    services = {service["name"]: service for service in recorder.get("/api/status")["services"]}
    assert not services["bus"]["ok"]
    assert services["ingest"]["ok"]
    wait_for(lambda: "the broker does not answer" in summary(recorder, "alarms"), what="alarms says why it does not go on")
    assert recorder.get("/api/alarms") == {"alarms": []}
    assert recorder.recordings("gate") == []
    try:
        broker = KafkaServer.start(port)
    except KafkaMissing as missing:
        pytest.skip(str(missing))
    try:
        wait_for(lambda: "bus: connected" in recorder.log(), what="the bus is connected")
        wait_for(lambda: summary(recorder, "alarms").startswith("running"), what="what waited for the bus goes on")
        wait_for(lambda: frames(recorder) >= SECONDS * FPS, what="every frame is recorded", deadline_s=240)
        (span,) = recorder.get("/api/timeline", channel="gate", from_ns=0, to_ns=2**62)["spans"]
        assert span["kind"] == "general"
        files = [recorder.download(recording, tmp_path) for recording in recorder.recordings("gate")]
        assert sum(map(count_frames, files)) == SECONDS * FPS
        assert recorder.get("/api/alarms")["alarms"] is not None
        assert recorder.stop() == 0
    finally:
        broker.stop()


def test_it_stops_in_order_while_kafka_is_away_and_nothing_is_lost(vedette: tuple[Recorder, int, Path]) -> None:
    recorder, _, spool = vedette
    wait_for(lambda: list(spool.glob("*.mp4")), what="segments wait in the spool")
    assert recorder.stop() == 0
    assert recorder.log().rstrip().endswith("Stopped.")
    assert "Traceback" not in recorder.log()
    assert list(spool.glob("*.mp4"))


def summary(recorder: Recorder, name: str) -> str:
    """What a service says of itself."""
    return next(str(service["summary"]) for service in recorder.get("/api/status")["services"] if service["name"] == name)


def frames(recorder: Recorder) -> int:
    return sum(recording["frames"] for recording in recorder.recordings("gate"))
