"""What engines share that run an exported network: the padded input, the reading of the output, the description.

Exports have batch 1 and static shapes; a picture is one inference.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg  # type: ignore[import-untyped]  # it ships no types

from services.analytics.adapters.detector import DetectorInfo, Thresholds
from services.analytics.core.boxes import Floats, Head, Letterbox, RawBoxes, decode, detections, head_of, suppress
from services.analytics.core.classes import NO_TARGET, groups
from shared.domain.errors import ModelError
from shared.domain.media import Picture, Pixels
from shared.domain.targets import Detection

#: Grey of the padding, as both Ultralytics and YOLOX are trained with.
PADDING = 114


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
        """Fill from `picture`; says where it lies.

        Raises:
            ValueError: the JPEG bytes are damaged.
        """
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
    def of(where: str, input_shape: Sequence[object], output_shape: Sequence[object], names: str | None) -> Network:
        """
        Args:
            input_shape, output_shape: sizes as the engine tells them; what is no number is a size that is not static.
            names: class names as they stand in the file, or None.

        Raises:
            ModelError: shapes that are no detector's of ours.
        """
        source = [size for size in input_shape if isinstance(size, int)]
        target = [size for size in output_shape if isinstance(size, int)]
        if len(source) != len(input_shape) or len(target) != len(output_shape):
            raise ModelError("the model's shapes are not static", where=where, hint="export it for one input size")
        head = head_of(tuple(target), source[3], source[2]) if len(source) == 4 and source[1] == 3 else None
        if head is None:
            raise ModelError(
                f"input {tuple(source)} and output {tuple(target)} are not those of a detector that is known here",
                where=where,
                hint="use a YOLOv8/11, YOLOv10/26 or undecoded YOLOX export with static shapes",
            )
        known = class_names(where, names)
        classes = {Head.YOLO: target[1] - 4, Head.YOLOX: target[2] - 5, Head.END_TO_END: max([79, *known]) + 1}[head]
        table = groups(known, classes)
        if (table == NO_TARGET).all():
            raise ModelError("the model knows no human and no vehicle", where=where)
        return Network(head, source[3], source[2], table)

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


class NetworkDetector:
    """The part of a detector that does not depend on what runs the network. An engine adds `detect`."""

    def __init__(self, engine: str, path: Path, network: Network, thresholds: Thresholds, *, precision: str, parallel: int) -> None:
        """`parallel`: how many pictures are in work at once: each has a canvas of its own."""
        self._network, self._thresholds = network, thresholds
        self._canvases = [network.canvas() for _ in range(parallel)]
        self._info = DetectorInfo(engine, path.name, network.input_width, network.input_height, precision, parallel)

    @property
    def info(self) -> DetectorInfo:
        return self._info

    def _read(self, output: Floats, letterbox: Letterbox) -> list[Detection]:
        """The detections of one picture from its output without the batch."""
        return detections(self._network.boxes(output, self._thresholds), letterbox, self._network.groups)

    def close(self) -> None:
        """Nothing is held but memory, unless the engine says otherwise."""
