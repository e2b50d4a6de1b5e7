"""Which streams of a channel are read, and for what."""

from __future__ import annotations

from typing import Any

import pytest

from services.ingest.channel import Use, streams_of
from services.ingest.core.sampler import Sampling
from shared.config.channels import ChannelConfig
from shared.domain.media import StreamKind

MAIN, SUB = StreamKind.MAIN, StreamKind.SUB
ANALYSED, LIVE = Sampling(5, 640, 360), Sampling(1, 640, 360, keys_only=True)
OFF: dict[str, Any] = {"recording": {"mode": "off"}}
QUIET: dict[str, Any] = {"analysis": {"enabled": False}}
TWO: dict[str, Any] = {"sub": {"url": "rtsp://192.0.2.1/2"}}


@pytest.mark.parametrize(("settings", "live_fps", "expected"), [
    ({}, 1, {MAIN: Use(True, ANALYSED)}),
    (TWO, 1, {MAIN: Use(True, None), SUB: Use(False, ANALYSED)}),
    (TWO | {"analysis": {"stream": "main"}}, 1, {MAIN: Use(True, ANALYSED)}),
    (TWO | OFF, 1, {SUB: Use(False, ANALYSED)}),
    (OFF, 1, {MAIN: Use(False, ANALYSED)}),
    (QUIET, 1, {MAIN: Use(True, LIVE)}),
    (QUIET | TWO, 1, {MAIN: Use(True, None), SUB: Use(False, LIVE)}),
    (QUIET | OFF, 1, {MAIN: Use(False, LIVE)}),
    (QUIET, 0, {MAIN: Use(True, None)}),
    (QUIET | TWO, 0, {MAIN: Use(True, None)}),
    (QUIET | OFF, 0, {MAIN: Use(False, None)}),
])  # fmt: skip
def test_streams(settings: dict[str, Any], live_fps: float, expected: dict[StreamKind, Use]) -> None:
    config = ChannelConfig.model_validate({"id": "door", "number": 1, "main": {"url": "rtsp://192.0.2.1/1"}, **settings})
    assert streams_of(config, live_fps) == expected
