"""An independent eye: finds people with YOLOX-nano through OpenCV's dnn, not with any part of the product."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.support.footage import ROOT

SIZE = 416
PERSON = 0
MIN_SCORE = 0.3


@cache
def _net() -> Any:
    model = ROOT.parent / "models" / "yolox_nano.onnx"
    if not Path(model).exists():
        pytest.skip(f"{model.name} is missing: it belongs into models/ beside VEDETTE_TEST_DATA")
    return cv2.dnn.readNetFromONNX(str(model))


def find_people(picture: Image.Image) -> list[tuple[float, float, float, float]]:
    """Boxes (x1, y1, x2, y2) in pixels of everything that is a person with a score of at least MIN_SCORE."""
    bgr = np.asarray(picture.convert("RGB"))[:, :, ::-1]
    scale = SIZE / max(bgr.shape[:2])
    small = cv2.resize(bgr, None, fx=scale, fy=scale)
    padded = np.full((SIZE, SIZE, 3), 114, np.float32)
    padded[: small.shape[0], : small.shape[1]] = small
    net = _net()
    net.setInput(padded.transpose(2, 0, 1)[None])
    rows = net.forward()[0]
    cells = [np.stack(np.meshgrid(np.arange(SIZE // s), np.arange(SIZE // s)), -1).reshape(-1, 2) for s in (8, 16, 32)]
    strides = np.concatenate([np.full((len(c), 1), s) for c, s in zip(cells, (8, 16, 32), strict=True)])
    centres = (rows[:, :2] + np.concatenate(cells)) * strides
    sizes = np.exp(rows[:, 2:4]) * strides
    keep = rows[:, 4] * rows[:, 5 + PERSON] >= MIN_SCORE
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], 1)[keep] / scale
    return [(float(a), float(b), float(c), float(d)) for a, b, c, d in boxes]
