"""ONNX Runtime: one picture after the other, all cores on each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from services.analytics.adapters.detector import Thresholds
from services.analytics.adapters.network import Network, NetworkDetector
from services.analytics.core.boxes import Floats
from shared.domain.errors import ModelError
from shared.domain.media import Picture
from shared.domain.targets import Detection


class OnnxDetector(NetworkDetector):
    """An .onnx file with static shapes."""

    def __init__(self, path: Path, thresholds: Thresholds) -> None:
        """Raises: ModelError: not readable, or no detector."""
        import onnxruntime  # type: ignore[import-untyped]  # it ships no types
        from onnxruntime.capi import onnxruntime_pybind11_state as states  # type: ignore[import-untyped]  # it ships no types

        onnxruntime.set_default_logger_severity(4)  # its errors come as exceptions too
        self._errors = (states.Fail, states.RuntimeException, states.InvalidArgument, states.EPFail)
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=onnxruntime.get_available_providers())
        except (states.InvalidProtobuf, states.InvalidGraph, states.NoSuchFile, states.NotImplemented, *self._errors) as error:
            raise ModelError(f"ONNX Runtime cannot load the model: {error}", where=str(path)) from error
        source, target = self._session.get_inputs()[0], self._session.get_outputs()[0]
        names = self._session.get_modelmeta().custom_metadata_map.get("names")
        self._input = source.name
        super().__init__("onnx", path, Network.of(str(path), source.shape, target.shape, names), thresholds, precision="f32", parallel=1)

    def detect(self, pictures: Sequence[Picture]) -> list[list[Detection]]:
        return [self._one(picture) for picture in pictures]

    def _one(self, picture: Picture) -> list[Detection]:
        (canvas,) = self._canvases
        letterbox = canvas.put(picture)
        values = cv2.dnn.blobFromImage(canvas.pixels, scalefactor=1.0 / self._network.scale)
        try:
            output: Floats = np.asarray(self._session.run(None, {self._input: values})[0][0])
        except self._errors as error:
            raise ModelError(f"ONNX Runtime failed: {error}", where=self._info.model) from error
        return self._read(output, letterbox)
