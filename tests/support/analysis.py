"""Footage through the analysis of one channel, with a real detector and without a bus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import av
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from services.analytics.adapters.detector import Detector
from services.analytics.adapters.engines import prepare
from services.analytics.adapters.models import ModelManager
from services.analytics.adapters.tracker import CBIoUTracker
from services.analytics.core.channel import ChannelAnalysis, Fired
from services.analytics.core.gate import Gate
from services.analytics.core.rules.counting import Counts
from shared.config.rules import AnyRule
from shared.config.services import AnalyticsConfig, Engine
from shared.domain.clock import NS_PER_S
from shared.domain.errors import ModelError
from shared.domain.media import Picture
from shared.domain.targets import TrackedObject
from shared.media.pictures import luma
from shared.messages import EventPhase

START_NS = 1_700_000_000 * NS_PER_S


@dataclass
class Analysed:
    """What came of it. `events`: (frame of the footage, event); `tracks`: by frame; `looked`: frames that the detector saw."""

    events: list[tuple[int, Fired]] = field(default_factory=list)
    tracks: dict[int, tuple[TrackedObject, ...]] = field(default_factory=dict)
    looked: list[int] = field(default_factory=list)
    counts: dict[str, Counts] = field(default_factory=dict)

    def started(self, rule: str, direction: str | None = None) -> list[int]:
        """Frames at which events of a rule began."""
        return [
            frame
            for frame, fired in self.events
            if fired.rule.id == rule and fired.event.phase is EventPhase.STARTED and direction in (None, fired.event.direction)
        ]

    def spans(self, rule: str) -> list[tuple[int, int]]:
        """First and last frame of the lasting events of a rule, by their own times at `fps`."""
        return [
            (frame, round((fired.event.end_ns - START_NS) * fps / NS_PER_S))
            for fps in (self.fps,)
            for frame, fired in self._ends(rule)
            if fired.event.end_ns is not None
        ]

    fps: float = 0.0

    def _ends(self, rule: str) -> list[tuple[int, Fired]]:
        ended = [fired for _, fired in self.events if fired.rule.id == rule and fired.event.phase is EventPhase.ENDED]
        return [(round((fired.event.start_ns - START_NS) * self.fps / NS_PER_S), fired) for fired in ended]


def pictures(path: Path, *, width: int, height: int, step: int = 1) -> Iterator[tuple[int, Picture]]:
    """Every `step`-th frame of a clip, with its number, at analysis size."""
    with av.open(str(path)) as clip:
        for number, frame in enumerate(clip.decode(video=0)):
            if number % step == 0:
                yield number, Picture(width, height, i420=np.ascontiguousarray(frame.reformat(width, height, "yuv420p").to_ndarray()))


@cache
def weights(name: str = "yolov8n") -> Path:
    """Weights from the cache that `vedette` itself uses; the test skips where they are not and cannot be fetched."""
    try:
        return ModelManager().get(name)
    except ModelError as error:
        pytest.skip(str(error))


@cache
def detector(engine: Engine = Engine.AUTO, model: str = "yolov8n") -> Detector:
    """A detector with the defaults of the configuration, made once for all tests."""
    weights(model)
    return prepare(AnalyticsConfig(engine=engine, model=model))


def analyse(frames: Iterator[tuple[int, Picture]], rules: Sequence[AnyRule], *, fps: float, gate: bool = True) -> Analysed:
    """The frames of one channel through motion, gate, detector, tracker and rules; `fps`: of the footage, before sampling."""
    config = AnalyticsConfig()
    analysis = ChannelAnalysis(
        Gate(threshold=config.motion_threshold, recheck_s=config.recheck_s, enabled=gate),
        lambda: CBIoUTracker(confidence=config.confidence, frame_rate=fps),
    )
    analysis.configure(rules, ZoneInfo("UTC"))
    found = Analysed(fps=fps)
    for number, picture in frames:
        look = analysis.look(luma(picture), START_NS + round(number * NS_PER_S / fps))
        detections = detector().detect([picture])[0] if look.detect else None
        tracks, fired = analysis.finish(look, detections)
        found.tracks[number] = tracks
        found.looked += [number] if look.detect else []
        found.events += [(number, one) for one in fired]
    found.events += [(number, one) for one in analysis.interrupt()]
    found.counts = analysis.counts()
    return found


def touchy_model(path: Path, *, width: int = 160, height: int = 96) -> Path:
    """A real .onnx detector that finds nothing, and that ONNX Runtime fails to run on a bright picture."""
    cells = sum((width // s) * (height // s) for s in (8, 16, 32))
    table = numpy_helper.from_array(np.zeros((1, 84, cells), dtype=np.float32), "table")
    limit = numpy_helper.from_array(np.array([1.5], dtype=np.float32), "limit")
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "limit"], ["level"]),
        helper.make_node("Cast", ["level"], ["row"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "row"], ["output0"], axis=0),
    ]
    source = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, height, width])
    target = helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 84, cells])
    graph = helper.make_graph(nodes, "touchy", [source], [target], [table, limit])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


def plain_picture(level: int, *, width: int = 160, height: int = 96) -> Picture:
    """A grey picture of one level, 16 (black) to 235 (white)."""
    i420 = np.full((height * 3 // 2, width), 128, dtype=np.uint8)
    i420[:height] = level
    return Picture(width, height, i420=i420)
