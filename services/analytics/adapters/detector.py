"""The detector port, what all engines share, and the choice of one.

An engine is made in a thread (it may compile for seconds) and used from one thread at a time; `detect` blocks, releases the GIL
while the network runs, and is never called on the event loop.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg  # type: ignore[import-untyped]  # it ships no types

from services.analytics.core.boxes import Floats, Head, Letterbox, RawBoxes, decode, detections, head_of, suppress
from services.analytics.core.classes import NO_TARGET, groups
from shared.domain.errors import ModelError
from shared.domain.media import Picture, Pixels
from shared.domain.targets import Detection

#: Grey of the padding, as both Ultralytics and YOLOX are trained with.
PADDING = 114


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


class Detector(Protocol):
    """Finds targets in pictures."""

    @property
    def info(self) -> DetectorInfo: ...

    def detect(self, pictures: Sequence[Picture]) -> list[list[Detection]]:
        """The targets of each picture, in the order of `pictures`.

        Raises:
            ModelError: the engine failed.
        """
        ...

    def close(self) -> None:
        """Release threads and memory. Idempotent."""
        ...


def class_names(where: str, text: str | None) -> Mapping[int, str]:
    """Class names as Ultralytics writes them into an export: the text of a Python dict. Empty when there are none."""
    if not text:
        return {}
    try:
        names = ast.literal_eval(text)
        return {int(number): str(name) for number, name in names.items()}
    except (ValueError, SyntaxError, AttributeError, TypeError) as error:
        raise ModelError("the class names in the model cannot be read", where=where) from error


class Canvas:
    """The padded input of one request, (height, width, 3) of 8 bits, filled in place: no allocation a frame but the colour image.

    Scaling and conversion to floats stay out of Python: a picture that already fits is converted straight into its place, and the
    engine turns bytes to floats inside its graph.
    """

    def __init__(self, width: int, height: int, *, rgb: bool, centred: bool) -> None:
        self.pixels: Pixels = np.full((height, width, 3), PADDING, dtype=np.uint8)
        self._rgb, self._centred = rgb, centred
        self._filled: tuple[int, int, int, int] | None = None

    def put(self, picture: Picture) -> Letterbox:
        """Fill from `picture`; says where it lies."""
        height, width = self.pixels.shape[:2]
        box = Letterbox.fit(picture.width, picture.height, width, height, centred=self._centred)
        place = (box.left, box.top, box.width, box.height)
        if place != self._filled:
            self.pixels[:] = PADDING
            self._filled = place
        view = self.pixels[box.top : box.top + box.height, box.left : box.left + box.width]
        if picture.i420 is not None:
            code = cv2.COLOR_YUV2RGB_I420 if self._rgb else cv2.COLOR_YUV2BGR_I420
            if (box.width, box.height) == (picture.width, picture.height):
                cv2.cvtColor(picture.i420, code, dst=view)
                return box
            colour = np.asarray(cv2.cvtColor(picture.i420, code), dtype=np.uint8)
        else:
            assert picture.jpeg is not None
            colour = np.asarray(simplejpeg.decode_jpeg(picture.jpeg, colorspace="RGB" if self._rgb else "BGR"), dtype=np.uint8)
        if (box.width, box.height) == (picture.width, picture.height):
            view[:] = colour
        else:
            cv2.resize(colour, (box.width, box.height), dst=view, interpolation=cv2.INTER_LINEAR)
        return box


@dataclass(frozen=True, slots=True)
class Network:
    """What an exported network is: its head, its input in pixels, which classes are targets."""

    head: Head
    input_width: int
    input_height: int
    groups: npt.NDArray[np.int64]

    @staticmethod
    def of(where: str, input_shape: Sequence[int], output_shape: Sequence[int], names: Mapping[int, str]) -> Network:
        """Raises: ModelError: shapes that are no detector's of ours."""
        _, channels, height, width = input_shape
        head = head_of(tuple(output_shape), width, height)
        if channels != 3 or head is None:
            raise ModelError(
                f"input {tuple(input_shape)} and output {tuple(output_shape)} are not those of a detector that is known here",
                where=where,
                hint="use a YOLOv8/11, YOLOv10/26 or undecoded YOLOX export with static shapes",
            )
        classes = {Head.YOLO: output_shape[1] - 4, Head.YOLOX: output_shape[2] - 5, Head.END_TO_END: max([79, *names]) + 1}[head]
        table = groups(names, classes)
        if (table == NO_TARGET).all():
            raise ModelError("the model knows no human and no vehicle", where=where)
        return Network(head, width, height, table)

    @property
    def rgb(self) -> bool:
        """Ultralytics' networks take RGB 0..1, YOLOX takes BGR 0..255."""
        return self.head is not Head.YOLOX

    @property
    def scale(self) -> float:
        """What a byte is divided by."""
        return 255.0 if self.rgb else 1.0

    def canvas(self) -> Canvas:
        return Canvas(self.input_width, self.input_height, rgb=self.rgb, centred=self.rgb)

    def boxes(self, output: Floats, thresholds: Thresholds) -> RawBoxes:
        """Candidates of one picture's output (without the batch) after suppression, in input pixels."""
        found = decode(
            output,
            self.head,
            confidence=thresholds.confidence,
            wanted=np.flatnonzero(self.groups != NO_TARGET),
            input_width=self.input_width,
            input_height=self.input_height,
        )
        return found if self.head is Head.END_TO_END else suppress(found, self.groups, thresholds.iou)

    def read(self, output: Floats, letterbox: Letterbox, thresholds: Thresholds) -> list[Detection]:
        """The detections of one picture."""
        return detections(self.boxes(output, thresholds), letterbox, self.groups)
