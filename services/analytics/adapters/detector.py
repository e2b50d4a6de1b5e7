"""The detector port.

An engine is made in a thread (it may compile for seconds) and used from one thread at a time; `detect` blocks, releases the GIL
while the network runs, and is never called on the event loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.domain.media import Picture
from shared.domain.targets import Detection


@dataclass(frozen=True, slots=True)
class Thresholds:
    """`confidence`: the least score of a box, 0..1. `iou`: boxes of one class that overlap more are one."""

    confidence: float
    iou: float


@dataclass(frozen=True, slots=True)
class DetectorInfo:
    """What runs, for people and for the health page. Sizes in pixels; `parallel`: pictures in work at once."""

    engine: str
    model: str
    input_width: int
    input_height: int
    precision: str
    parallel: int

    def __str__(self) -> str:
        return f"{self.engine} {self.model} {self.input_width}x{self.input_height} {self.precision}"


class Detector(Protocol):
    """Finds targets in pictures."""

    @property
    def info(self) -> DetectorInfo: ...

    def detect(self, pictures: Sequence[Picture]) -> list[list[Detection]]:
        """The targets of each picture, in the order of `pictures`.

        Raises:
            ModelError: the engine failed; make a new one.
            ValueError: the JPEG bytes of one of the pictures are damaged; the engine goes on.
        """
        ...

    def close(self) -> None:
        """Release threads and memory. Idempotent."""
        ...
