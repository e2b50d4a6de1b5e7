"""From a network's output to boxes: letterbox geometry, decoding of heads, non-maximum suppression. Vectorised numpy.

Heads understood:
- `YOLO`: (4 + classes, anchors): centre x, centre y, width, height in input pixels, then class scores (Ultralytics YOLOv8, 11).
- `YOLOX`: (anchors, 5 + classes): offsets to be decoded on the grid of strides 8, 16, 32, objectness, class scores (YOLOX, exported
  without its decoding).
- `END_TO_END`: (boxes, 6): corners in input pixels, score, class; suppressed already (Ultralytics YOLOv10, 26).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from services.analytics.core.classes import NO_TARGET, TARGETS
from shared.domain.geometry import Box
from shared.domain.targets import Detection

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

#: The most boxes kept of one picture, as Ultralytics' default.
MAX_BOXES = 300
#: The most candidates that suppression looks at: bounds its quadratic cost on a hopeless picture.
MAX_CANDIDATES = 3000
YOLOX_STRIDES = (8, 16, 32)


class Head(StrEnum):
    """What a network's output means; the module says more."""

    YOLO = "yolo"
    YOLOX = "yolox"
    END_TO_END = "end_to_end"


def head_of(shape: tuple[int, ...], input_width: int, input_height: int) -> Head | None:
    """The head that an output of `shape` (with its leading batch) comes from, or None when it is none of ours."""
    if len(shape) != 3:
        return None
    _, rows, columns = shape
    cells = sum((input_width // s) * (input_height // s) for s in YOLOX_STRIDES)
    if columns == 6 and rows <= MAX_BOXES:
        return Head.END_TO_END
    if columns == cells and rows > 4:
        return Head.YOLO
    if rows == cells and columns > 5:
        return Head.YOLOX
    return None


@dataclass(frozen=True, slots=True)
class Letterbox:
    """A picture scaled into an input, aspect ratio kept, the rest padded. All sizes in pixels.

    Attributes:
        source_width, source_height: of the picture.
        width, height: of the scaled picture inside the input.
        left, top: where it begins.
        scale: input pixels per source pixel.
    """

    source_width: int
    source_height: int
    width: int
    height: int
    left: int
    top: int
    scale: float

    @staticmethod
    def fit(source_width: int, source_height: int, input_width: int, input_height: int, *, centred: bool = True) -> Letterbox:
        """Centred as Ultralytics does, or at the top left as YOLOX does."""
        scale = min(input_width / source_width, input_height / source_height)
        width, height = min(input_width, round(source_width * scale)), min(input_height, round(source_height * scale))
        left = round((input_width - width) / 2 - 0.1) if centred else 0
        top = round((input_height - height) / 2 - 0.1) if centred else 0
        return Letterbox(source_width, source_height, width, height, left, top, scale)

    def normalise(self, corners: Floats) -> Floats:
        """Corners (n, 4) in input pixels -> 0..1 of the source picture, clipped to it."""
        offset = np.array([self.left, self.top, self.left, self.top], dtype=np.float32)
        size = np.array([self.source_width, self.source_height] * 2, dtype=np.float32) * np.float32(self.scale)
        return np.clip((corners - offset) / size, 0.0, 1.0).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class RawBoxes:
    """Boxes of one picture, best first: corners (n, 4) in input pixels, scores (n,), class numbers (n,)."""

    corners: Floats
    scores: Floats
    classes: Ints

    def take(self, index: Ints | npt.NDArray[np.bool_]) -> RawBoxes:
        return RawBoxes(self.corners[index], self.scores[index], self.classes[index])


def decode(output: Floats, head: Head, *, confidence: float, wanted: Ints, input_width: int, input_height: int) -> RawBoxes:
    """Candidates of one picture with a score of at least `confidence` whose best class is in `wanted`, best first.

    Args:
        output: the network's output without the batch: shape by `head`.
        wanted: numbers of the classes that matter.
    """
    if head is Head.END_TO_END:
        keep = (output[:, 4] >= confidence) & np.isin(output[:, 5].astype(np.int64), wanted)
        found = output[keep]
        return _best_first(RawBoxes(found[:, :4], found[:, 4], found[:, 5].astype(np.int64)))
    if head is Head.YOLOX:
        return _decode_yolox(output, confidence, wanted, input_width, input_height)
    return _decode_yolo(output, confidence, wanted)


def _decode_yolo(output: Floats, confidence: float, wanted: Ints) -> RawBoxes:
    # First the few classes that matter, over all anchors; the argmax over all classes only for the anchors that are left.
    scores = output[4 + wanted].max(axis=0)
    anchors = np.flatnonzero(scores >= confidence)
    table = output[4:, anchors]
    classes = table.argmax(axis=0)
    mine = np.isin(classes, wanted)
    anchors, classes = anchors[mine], classes[mine]
    return _best_first(RawBoxes(_corners(output[:4, anchors].T), scores[anchors], classes))


def _decode_yolox(output: Floats, confidence: float, wanted: Ints, input_width: int, input_height: int) -> RawBoxes:
    grid, stride = _yolox_grid(input_width, input_height)
    scores = output[:, 4] * output[:, 5 + wanted].max(axis=1)
    anchors = np.flatnonzero(scores >= confidence)
    classes = output[anchors, 5:].argmax(axis=1)
    mine = np.isin(classes, wanted)
    anchors, classes = anchors[mine], classes[mine]
    rows, step = output[anchors], stride[anchors, None]
    centre = (rows[:, :2] + grid[anchors]) * step
    size = np.exp(rows[:, 2:4]) * step
    return _best_first(RawBoxes(_corners(np.concatenate([centre, size], axis=1)), scores[anchors], classes))


@lru_cache(maxsize=8)
def _yolox_grid(input_width: int, input_height: int) -> tuple[Floats, Floats]:
    grids, strides = [], []
    for stride in YOLOX_STRIDES:
        columns, rows = np.meshgrid(np.arange(input_width // stride), np.arange(input_height // stride))
        grids.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full(columns.size, stride))
    return np.concatenate(grids).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _corners(centre_size: Floats) -> Floats:
    half = centre_size[:, 2:4] / 2
    return np.concatenate([centre_size[:, :2] - half, centre_size[:, :2] + half], axis=1).astype(np.float32)


def _best_first(boxes: RawBoxes) -> RawBoxes:
    return boxes.take(np.argsort(-boxes.scores, kind="stable")[:MAX_CANDIDATES])


def iou_matrix(first: Floats, second: Floats) -> Floats:
    """Intersection over union of corners (n, 4) with corners (m, 4): (n, m)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = np.prod(first[:, 2:] - first[:, :2], axis=1)[:, None] + np.prod(second[:, 2:] - second[:, :2], axis=1)[None, :]
    return np.asarray(common / np.maximum(areas - common, 1e-12), dtype=np.float32)


def suppress(boxes: RawBoxes, groups: Ints, iou: float) -> RawBoxes:
    """Greedy non-maximum suppression among boxes of the same group.

    Args:
        boxes: best first.
        groups: group by class number; classes of one group suppress each other (a van that is "car" and "truck" is one vehicle).
        iou: boxes that overlap a better one by more than this go.
    """
    group = groups[boxes.classes]
    alive = np.ones(len(group), dtype=bool)
    overlap = iou_matrix(boxes.corners, boxes.corners) > iou
    overlap &= group[:, None] == group[None, :]
    for index in range(len(group)):
        if alive[index]:
            alive[index + 1 :] &= ~overlap[index, index + 1 :]
    return boxes.take(np.flatnonzero(alive)[:MAX_BOXES])


def detections(boxes: RawBoxes, letterbox: Letterbox, groups: Ints) -> list[Detection]:
    """Values for the rest of the system. Boxes without an area, and classes that are no target, are left out."""
    corners = letterbox.normalise(boxes.corners)
    found = []
    for (x1, y1, x2, y2), score, group in zip(corners.tolist(), boxes.scores.tolist(), groups[boxes.classes].tolist(), strict=True):
        if group != NO_TARGET and x2 > x1 and y2 > y1:
            found.append(Detection(Box(x1, y1, x2, y2), TARGETS[group], score))
    return found
