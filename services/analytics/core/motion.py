"""The motion stage: a running-average background on a small grey picture. It says how much moves, and where.

Method: pixels that differ from the running average by more than a fixed step have changed; a step common to the whole picture (the camera's
exposure, a cloud) is taken out first by its median; cells of 8x8 pixels with enough changed pixels are active, lone noisy pixels are not;
touching active cells make a region. When most of the picture changes at once, that is light or a moved camera, not someone: the background
starts anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.domain.clock import NS_PER_S
from shared.domain.geometry import Box
from shared.domain.media import Pixels

Grey = npt.NDArray[np.float32]

TARGET_WIDTH = 320
CELL = 8
#: Levels of grey (of 256) by which a changed pixel differs.
STEP = 16.0
#: Changed pixels that make a cell active, of 64.
CELL_PIXELS = 10
#: The background follows the picture with this time constant; where something is, four times slower.
FOLLOW_S = 3.0
FOREGROUND_SLOWER = 4.0
#: More than this share changed at once is light.
LIGHT_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Motion:
    """What the motion stage saw.

    Attributes:
        share: changed pixels in active cells, 0..1 of the picture.
        regions: boxes around touching active cells, largest first.
        light: the light (or the view) changed as a whole: nothing can be said about motion, look at the picture once.
    """

    share: float
    regions: tuple[Box, ...] = ()
    light: bool = False


class MotionDetector:
    """The background of one channel. State is a picture: it is not moved between workers but learnt again within a second."""

    def __init__(self) -> None:
        self._background: Grey | None = None
        self._seen_ns = 0

    def step(self, luma: Pixels, time_ns: int) -> Motion:
        """Compare a Y plane (height, width) with the background, and let the background follow."""
        stride = max(1, round(luma.shape[1] / TARGET_WIDTH))
        small = luma[::stride, ::stride]
        grey = small[: small.shape[0] // CELL * CELL, : small.shape[1] // CELL * CELL].astype(np.float32)
        background = self._background
        if background is None or background.shape != grey.shape:
            self._restart(grey, time_ns)
            return Motion(0.0, light=True)
        difference = grey - background
        shift = np.float32(np.median(difference[::4, ::4]))
        difference -= shift
        changed = np.abs(difference) > STEP
        if changed.mean() > LIGHT_SHARE:
            self._restart(grey, time_ns)
            return Motion(0.0, light=True)
        rate = 1.0 - np.exp(-max(0, time_ns - self._seen_ns) / (FOLLOW_S * NS_PER_S))
        self._seen_ns = time_ns
        background += shift
        background += difference * np.where(changed, np.float32(rate / FOREGROUND_SLOWER), np.float32(rate))
        return _regions(changed)

    def _restart(self, grey: Grey, time_ns: int) -> None:
        self._background, self._seen_ns = grey, time_ns


def _regions(changed: npt.NDArray[np.bool_]) -> Motion:
    height, width = changed.shape
    counts = changed.reshape(height // CELL, CELL, width // CELL, CELL).sum(axis=(1, 3))
    active = counts >= CELL_PIXELS
    share = float(counts[active].sum()) / changed.size
    boxes = [
        Box(x1 * CELL / width, y1 * CELL / height, (x2 + 1) * CELL / width, (y2 + 1) * CELL / height) for x1, y1, x2, y2 in _groups(active)
    ]
    return Motion(share, tuple(sorted(boxes, key=lambda box: -box.area)))


def _groups(active: npt.NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
    """Extents (first and last column and row) of groups of active cells that touch, corners and one gap included."""
    left = {(int(x), int(y)) for y, x in np.argwhere(active)}
    found = []
    while left:
        frontier = [left.pop()]
        members = list(frontier)
        while frontier:
            x, y = frontier.pop()
            near = {(x + dx, y + dy) for dx in range(-2, 3) for dy in range(-2, 3)} & left
            left -= near
            frontier += near
            members += near
        xs, ys = [x for x, _ in members], [y for _, y in members]
        found.append((min(xs), min(ys), max(xs), max(ys)))
    return found
