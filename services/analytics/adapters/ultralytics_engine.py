"""Ultralytics itself: any .pt it can load, on a GPU where torch finds one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from services.analytics.adapters.detector import DetectorInfo, Thresholds
from services.analytics.core.boxes import Letterbox, RawBoxes, detections, suppress
from services.analytics.core.classes import NO_TARGET, groups
from shared.domain.errors import ModelError
from shared.domain.media import Picture
from shared.domain.targets import Detection
from shared.media.pictures import to_bgr


def quiet_environment(config_dir: Path) -> dict[str, str]:
    """What keeps the package from the network, from installing packages, and from writing outside `config_dir`."""
    return {
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_VERBOSE": "false",
        "YOLO_CONFIG_DIR": str(config_dir),
        "MPLCONFIGDIR": str(config_dir / "matplotlib"),
    }


def load(weights: Path, config_dir: Path) -> Any:
    """An `ultralytics.YOLO`. The environment is set before the first import: the package reads it only then.

    Raises:
        ModelError: not a model.
    """
    config_dir.mkdir(parents=True, exist_ok=True)
    os.environ.update(quiet_environment(config_dir))
    import ultralytics

    package: Any = ultralytics  # it ships no types that say what it exports
    if package.settings["sync"]:
        package.settings.update({"sync": False})
    try:
        return package.YOLO(str(weights), task="detect")
    except (OSError, RuntimeError, AttributeError, ValueError, TypeError, EOFError, KeyError) as error:
        raise ModelError(f"Ultralytics cannot load the weights: {error}", where=str(weights)) from error


class UltralyticsDetector:
    """`predict` with the input size of the configuration."""

    def __init__(self, weights: Path, thresholds: Thresholds, *, input_width: int, input_height: int, config_dir: Path) -> None:
        """Raises: ModelError: the weights cannot be loaded."""
        import torch

        self._model = load(weights, config_dir)
        self._thresholds, self._size = thresholds, [input_height, input_width]
        names: Mapping[int, str] = self._model.names
        self._groups = groups(names, max(names) + 1)
        self._wanted = np.flatnonzero(self._groups != NO_TARGET).tolist()
        if not self._wanted:
            raise ModelError("the model knows no human and no vehicle", where=str(weights))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._device = device
        self._info = DetectorInfo("ultralytics", weights.name, input_width, input_height, f"f32 on {device}", 1)

    @property
    def info(self) -> DetectorInfo:
        return self._info

    def detect(self, pictures: Sequence[Picture]) -> list[list[Detection]]:
        if not pictures:
            return []
        try:
            results = self._model.predict(
                [to_bgr(picture) for picture in pictures], imgsz=self._size, conf=self._thresholds.confidence, iou=self._thresholds.iou,
                classes=self._wanted, device=self._device, verbose=False,
            )  # fmt: skip
        except RuntimeError as error:
            raise ModelError(f"Ultralytics failed: {error}", where=self._info.model) from error
        return [self._read(result, picture) for result, picture in zip(results, pictures, strict=True)]

    def _read(self, result: Any, picture: Picture) -> list[Detection]:
        table = result.boxes.data.cpu().numpy()
        boxes = RawBoxes(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))  # best first, in the picture's pixels
        whole = Letterbox(picture.width, picture.height, picture.width, picture.height, 0, 0, 1.0)
        return detections(suppress(boxes, self._groups, self._thresholds.iou), whole, self._groups)

    def close(self) -> None:
        """Nothing is held but memory."""
