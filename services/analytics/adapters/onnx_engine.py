"""ONNX Runtime: one picture after the other, all cores on each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from services.analytics.adapters.detector import DetectorInfo, Network, Thresholds, class_names
from services.analytics.core.boxes import Floats
from shared.domain.errors import ModelError
from shared.domain.media import Picture
from shared.domain.targets import Detection


class OnnxDetector:
    """An .onnx file with static shapes."""

    def __init__(self, path: Path, thresholds: Thresholds) -> None:
        """Raises: ModelError: not readable, or no detector."""
        import onnxruntime  # type: ignore[import-untyped]  # it ships no types
        from onnxruntime.capi import onnxruntime_pybind11_state as states  # type: ignore[import-untyped]  # it ships no types

        onnxruntime.set_default_logger_severity(3)
        self._errors = (states.Fail, states.RuntimeException, states.InvalidArgument)
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=onnxruntime.get_available_providers())
        except (states.Fail, states.InvalidProtobuf, states.InvalidGraph, states.NoSuchFile, states.NotImplemented) as error:
            raise ModelError(f"ONNX Runtime cannot load the model: {error}", where=str(path)) from error
        source, target = self._session.get_inputs()[0], self._session.get_outputs()[0]
        if not all(isinstance(size, int) for size in (*source.shape, *target.shape)):
            raise ModelError("the model's shapes are not static", where=str(path), hint="export it for one input size")
        names = class_names(str(path), self._session.get_modelmeta().custom_metadata_map.get("names"))
        self._network = Network.of(str(path), source.shape, target.shape, names)
        self._input, self._thresholds, self._canvas = source.name, thresholds, self._network.canvas()
        self._info = DetectorInfo("onnx", path.name, self._network.input_width, self._network.input_height, "f32", 1)

    @property
    def info(self) -> DetectorInfo:
        return self._info

    @property
    def network(self) -> Network:
        return self._network

    def detect(self, pictures: Sequence[Picture]) -> list[list[Detection]]:
        return [self._one(picture) for picture in pictures]

    def _one(self, picture: Picture) -> list[Detection]:
        letterbox = self._canvas.put(picture)
        values = cv2.dnn.blobFromImage(self._canvas.pixels, scalefactor=1.0 / self._network.scale)
        try:
            output: Floats = np.asarray(self._session.run(None, {self._input: values})[0][0])
        except self._errors as error:
            raise ModelError(f"ONNX Runtime failed: {error}", where=self._info.model) from error
        return self._network.read(output, letterbox, self._thresholds)

    def close(self) -> None:
        """Nothing is held but memory."""
