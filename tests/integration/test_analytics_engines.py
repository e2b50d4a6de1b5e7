"""Engines against Ultralytics' own predict, on the same weights and input size."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import simplejpeg  # type: ignore[import-untyped]  # it ships no types
from PIL import Image

from services.analytics.adapters.detector import Detector, Thresholds
from services.analytics.adapters.engines import prepare
from services.analytics.adapters.export import exported
from services.analytics.adapters.models import ModelManager
from services.analytics.adapters.onnx_engine import OnnxDetector
from services.analytics.adapters.openvino_engine import OpenVinoDetector
from services.analytics.adapters.ultralytics_engine import UltralyticsDetector
from services.analytics.core.boxes import iou_matrix
from shared.config.services import AnalyticsConfig, Engine
from shared.domain.errors import ModelError
from shared.domain.media import Picture
from shared.domain.targets import Detection, TargetClass
from shared.media.pictures import to_bgr, to_jpeg
from tests.support.analysis import pictures, weights
from tests.support.footage import ROOT, footage

pytestmark = pytest.mark.integration

SIZE = {"input_width": 640, "input_height": 384}
AT = Thresholds(0.25, 0.7)


@cache
def frames() -> tuple[Picture, ...]:
    one = [picture for _, picture in pictures(footage("one-by-one-person-detection.mp4"), width=640, height=360, step=40)]
    two = [picture for _, picture in pictures(footage("TUD-Campus.mp4"), width=640, height=480, step=3)]
    return (*one, *two)


@cache
def reference() -> list[list[Detection]]:
    return UltralyticsDetector(weights(), AT, config_dir=ModelManager().folder / "ultralytics", **SIZE).detect(frames())


def corners(found: Sequence[Detection]) -> np.ndarray:
    return np.array([(d.box.x1, d.box.y1, d.box.x2, d.box.y2) for d in found], dtype=np.float32).reshape(-1, 4)


def agreement(found: list[list[Detection]], true: list[list[Detection]]) -> tuple[float, float, int]:
    """Recall at IoU 0.5 of the same class, mean IoU of what matched, and how many boxes there were to find."""
    hits, overlaps, total = 0, 0.0, 0
    for mine, theirs in zip(found, true, strict=True):
        for target in TargetClass:
            a, b = corners([d for d in theirs if d.target is target]), corners([d for d in mine if d.target is target])
            total += len(a)
            if len(a) and len(b):
                best = iou_matrix(a, b).max(axis=1)
                hits += int((best >= 0.5).sum())
                overlaps += float(best[best >= 0.5].sum())
    return hits / total, overlaps / max(1, hits), total


def make(engine: Engine) -> Detector:
    onnx = exported(weights(), input_width=640, input_height=384, cache=ModelManager().folder)
    return OpenVinoDetector(onnx, AT) if engine is Engine.OPENVINO else OnnxDetector(onnx, AT)


@pytest.mark.parametrize("engine", [Engine.OPENVINO, Engine.ONNX])
def test_boxes_are_those_of_ultralytics(engine: Engine) -> None:
    recall, overlap, total = agreement(make(engine).detect(frames()), reference())
    assert total > 100
    assert recall >= 0.99
    assert overlap >= 0.9


def test_a_picture_that_came_as_jpeg_gives_the_same_boxes() -> None:
    plain = [picture for picture in frames() if picture.height == 360]
    coded = [Picture(picture.width, picture.height, jpeg=to_jpeg(picture, 95)) for picture in plain]
    engine = make(Engine.OPENVINO)
    recall, overlap, _ = agreement(engine.detect(coded), engine.detect(plain))
    assert recall >= 0.95
    assert overlap >= 0.9


def test_results_are_in_the_order_of_the_pictures() -> None:
    engine, some = make(Engine.OPENVINO), list(frames()[:9])
    together = engine.detect(some)
    alone = [engine.detect([picture])[0] for picture in some]
    assert [[d.target for d in found] for found in together] == [[d.target for d in found] for found in alone]
    assert engine.detect([]) == []


def test_yolox_finds_the_people_of_a_photograph_where_yolov8_does() -> None:
    source = ROOT.parent / "models" / "yolox_nano.onnx"
    if not source.exists():
        pytest.skip("yolox_nano.onnx is missing beside the test data")
    import ultralytics  # it carries the photograph

    photo = Image.open(Path(ultralytics.__file__).parent / "assets" / "bus.jpg").convert("RGB").resize((480, 640))
    picture = Picture(480, 640, jpeg=simplejpeg.encode_jpeg(np.asarray(photo), 95, "RGB"))
    for engine in (OpenVinoDetector(source, AT), OnnxDetector(source, AT)):
        recall, overlap, total = agreement(engine.detect([picture]), make(Engine.OPENVINO).detect([picture]))
        assert total >= 4
        assert recall >= 0.75
        assert overlap >= 0.75


def test_with_the_export_in_the_cache_torch_is_never_imported() -> None:
    exported(weights(), input_width=640, input_height=384, cache=ModelManager().folder)
    program = (
        "import sys\n"
        "from services.analytics.adapters.engines import prepare\n"
        "from services.analytics.adapters.tracker import CBIoUTracker\n"
        "from shared.config.services import AnalyticsConfig\n"
        "prepare(AnalyticsConfig())\n"
        "CBIoUTracker(confidence=0.25, frame_rate=5)\n"
        "sys.exit(1 if {'torch', 'ultralytics'} & set(sys.modules) else 0)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=400, cwd=Path(__file__).parents[2])


def test_the_export_is_made_once_and_leaves_nothing_else_behind(tmp_path: Path) -> None:
    told: list[float] = []
    first = exported(weights(), input_width=160, input_height=96, cache=tmp_path, progress=lambda _what, share: told.append(share or 0))
    assert told == sorted(told)
    assert told
    made_ns = first.stat().st_mtime_ns
    assert exported(weights(), input_width=160, input_height=96, cache=tmp_path) == first
    assert first.stat().st_mtime_ns == made_ns
    assert sorted(path.name for path in first.parent.iterdir()) == [first.name, f"{first.name}.lock"]


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    for name, engine in (("broken.onnx", Engine.OPENVINO), ("broken.onnx", Engine.ONNX), ("broken.pt", Engine.ONNX)):
        path = tmp_path / name
        path.write_bytes(b"no model")
        with pytest.raises(ModelError):
            prepare(AnalyticsConfig(engine=engine, model=str(path), models_dir=tmp_path / "cache"))


def test_a_model_that_is_no_detector_is_told() -> None:
    source = ROOT.parent / "models" / "osnet_x0_25_msmt17.onnx"
    if not source.exists():
        pytest.skip("osnet_x0_25_msmt17.onnx is missing beside the test data")
    for engine in (OpenVinoDetector, OnnxDetector):
        with pytest.raises(ModelError):
            engine(source, AT)


def test_bgr_of_a_picture_is_what_ultralytics_is_given() -> None:
    assert to_bgr(frames()[0]).shape == (360, 640, 3)
