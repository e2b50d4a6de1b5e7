"""One id follows a frame through the log: from ingest over analytics, alarms and storage to the webhook that tells of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from services.cli.demo.scene import GATE, build_scenes
from services.cli.demo.simulated import CameraSpec
from shared.domain.tracing import trace_in
from tests.support.recorder import Recorder, recorder
from tests.support.rtsp import camera_simulator
from tests.support.waiting import wait_for
from tests.support.webhooks import TEST_SECRET, monitoring_centre

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def site(main: str, sub: str, centre: str) -> dict[str, Any]:
    rule = {
        "kind": "tripwire",
        "id": "line",
        "line": [list(point) for point in GATE.lines[0].points],
        "targets": ["human"],
        "linkage": {"webhooks": ["station"]},
    }
    return {
        "centres": [{"kind": "webhook", "id": "station", "url": centre, "secret": TEST_SECRET}],
        "channels": [{"id": "gate", "number": 1, "main": {"url": main}, "sub": {"url": sub}, "rules": [rule]}],
    }


def lines_of(vedette: Recorder, trace: str) -> dict[str, dict[str, Any]]:
    """The latest line of each sort with this trace, by its words."""
    text = (vedette.data_dir / "log" / "vedette.log").read_text(encoding="utf-8")
    whole, _, _ = text.rpartition("\n")  # the rest is being written
    lines = [json.loads(line) for line in whole.splitlines() if trace in line]
    return {line["event"]: line for line in lines if line.get("trace") == trace}


def test_a_frame_is_followed_to_its_webhook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDETTE_LOG_LEVEL", "debug")
    scene = next(built for built in build_scenes(tmp_path / "scenes") if built.truth.name == GATE.name)
    cameras = CameraSpec("/gate", scene.files.main), CameraSpec("/gate/sub", scene.files.sub)
    with camera_simulator(*cameras) as simulator, monitoring_centre() as centre:
        config = site(simulator.url("/gate"), simulator.url("/gate/sub"), centre.url)
        with recorder(tmp_path, config) as vedette:
            wait_for(vedette.detects, what="the detector is ready", deadline_s=600)
            delivery = wait_for(lambda: next(iter(centre.accepted()), None), what="a webhook", deadline_s=400)
            assert delivery is not None
            trace = trace_in(delivery.traceparent)
            assert trace
            assert delivery.event["traceparent"] == delivery.traceparent
            lines = wait_for(
                lambda: found if {"an action is settled", "webhook delivered"} <= (found := lines_of(vedette, trace)).keys() else {},
                what="storage's answer and the webhook in the log",
            )
            alarm = vedette.alarms()[0]
            assert alarm["trace"] == trace
    assert lines.keys() >= {"a frame is published", "a frame is analysed", "alarm", "action requested"}
    assert lines["a frame is published"]["sequence"] == lines["a frame is analysed"]["sequence"]
    assert lines["webhook delivered"]["alarm"] == lines["alarm"]["alarm"] == delivery.event["data"]["alarm_id"]
