"""The motion stage: running-average backgrounds on a small grey picture. It says how much moves, and where things are that came.

Method: pixels that differ from a running average by more than a fixed step have changed; a step common to the whole picture (the camera's
exposure, a cloud) is taken out first by its median; cells with enough changed pixels are active, lone noisy pixels are not. When most of
the picture changes at once, that is light or a moved camera, not someone: the backgrounds start anew.

There are two averages, since "does anything move?" and "what came into the scene?" want different ones. The fast one forgets within a
second or two: someone who stands still is no motion, and the detector is spared. The slow one keeps whoever came whole, as one region, for
many seconds; touching active cells of it make the regions that smart motion follows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.domain.clock import NS_PER_S
from shared.domain.geometry import Box
from shared.domain.media import Pixels

Grey = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

TARGET_WIDTH = 320
#: Levels of grey (of 256) by which a changed pixel differs.
STEP = 16.0
#: Share of changed pixels that makes a cell active.
CELL_SHARE = 0.16
#: Pixels along a cell: of the fast average, and of the slow one, which works at half the size.
FAST_CELL, SLOW_CELL = 8, 4
#: Time constants, seconds. The slow average follows four times slower still where something is.
FAST_S, SLOW_S = 1.0, 3.0
FOREGROUND_SLOWER = 4.0
#: More than this share changed at once is light.
LIGHT_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Motion:
    """What the motion stage saw.

    Attributes:
        share: what moves, 0..1 of the picture.
        regions: boxes around what came into the scene and is not yet background, largest first.
        light: the light (or the view) changed as a whole: nothing can be said about motion, look at the picture once.
    """

    share: float
    regions: tuple[Box, ...] = ()
    light: bool = False


class MotionDetector:
    """The backgrounds of one channel. State is pictures: it is not moved between workers but learnt again within a second."""

    def __init__(self) -> None:
        self._fast = _Average(FAST_S, 1.0, FAST_CELL)
        self._slow = _Average(SLOW_S, FOREGROUND_SLOWER, SLOW_CELL)

    def step(self, luma: Pixels, time_ns: int) -> Motion:
        """Compare a Y plane (height, width) with the backgrounds, and let them follow."""
        stride = max(1, round(luma.shape[1] / TARGET_WIDTH))
        small = luma[::stride, ::stride]
        grey = small[: small.shape[0] // FAST_CELL * FAST_CELL, : small.shape[1] // FAST_CELL * FAST_CELL].astype(np.float32)
        half = np.ascontiguousarray(grey[::2, ::2])
        changed = self._fast.step(grey, time_ns)
        came = self._slow.step(half, time_ns)
        if changed is None or came is None:
            self._fast.restart(grey, time_ns)
            self._slow.restart(half, time_ns)
            return Motion(0.0, light=True)
        return Motion(_share(_cells(changed, FAST_CELL), FAST_CELL), _regions(_cells(came, SLOW_CELL)))


class _Average:
    """A running average of pictures of one size."""

    def __init__(self, follow_s: float, slower: float, cell: int) -> None:
        self._follow_ns, self._slower, self._cell = follow_s * NS_PER_S, slower, cell
        self._background: Grey | None = None
        self._seen_ns = 0

    def restart(self, grey: Grey, time_ns: int) -> None:
        self._background, self._seen_ns = grey.copy(), time_ns

    def step(self, grey: Grey, time_ns: int) -> Mask | None:
        """Which pixels differ; None when nothing can be said: there is no background of this size, or all of it changed."""
        background = self._background
        if background is None or background.shape != grey.shape:
            return None
        difference = grey - background
        shift = np.float32(np.median(difference[:: self._cell, :: self._cell]))
        difference -= shift
        changed: Mask = np.abs(difference) > STEP
        if np.count_nonzero(changed) > LIGHT_SHARE * changed.size:
            return None
        rate = 1.0 - math.exp(-max(0, time_ns - self._seen_ns) / self._follow_ns)
        self._seen_ns = time_ns
        difference *= np.float32(rate)
        if self._slower != 1.0:
            difference[changed] /= np.float32(self._slower)
        difference += shift
        background += difference
        return changed


def _cells(changed: Mask, cell: int) -> npt.NDArray[np.int64]:
    """Changed pixels per cell, 0 where they are too few. Summed along rows first: ten times faster than both axes at once."""
    height, width = changed.shape
    rows = changed.view(np.uint8).reshape(height // cell, cell, width).sum(axis=1, dtype=np.uint8)
    counts: npt.NDArray[np.int64] = rows.reshape(height // cell, width // cell, cell).sum(axis=2, dtype=np.int64)
    counts[counts < CELL_SHARE * cell * cell] = 0
    return counts


def _share(counts: npt.NDArray[np.int64], cell: int) -> float:
    return float(counts.sum()) / (counts.size * cell * cell)


def _regions(counts: npt.NDArray[np.int64]) -> tuple[Box, ...]:
    rows, columns = counts.shape
    boxes = [Box(x1 / columns, y1 / rows, (x2 + 1) / columns, (y2 + 1) / rows) for x1, y1, x2, y2 in _groups(counts > 0)]
    return tuple(sorted(boxes, key=lambda box: -box.area))


def _groups(active: Mask) -> list[tuple[int, int, int, int]]:
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
