"""OpenVINO: several pictures at once, one infer request each.

Measured on 2 cores (docs/design/analytics.md): batches of 2 or 4 and one request per stream give the same frames/s, so there are no
batches to pad: each picture is a request of its own, and conversion and decoding of one overlap with the network of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from services.analytics.adapters.detector import Thresholds
from services.analytics.adapters.network import Network, NetworkDetector
from services.analytics.core.boxes import Floats, Letterbox
from shared.domain.errors import ModelError
from shared.domain.media import Picture
from shared.domain.targets import Detection

if TYPE_CHECKING:
    from openvino import CompiledModel, Model  # type: ignore[import-untyped]  # it ships no types


class OpenVinoDetector(NetworkDetector):
    """A compiled network with as many infer requests as OpenVINO has streams here. Precision as OpenVINO picks it (bf16 where native)."""

    def __init__(self, path: Path, thresholds: Thresholds, *, cache_dir: Path | None = None) -> None:
        """Compile `path` (.onnx or .xml) for the CPU.

        Args:
            cache_dir: where compiled networks are kept; none: compiled anew each time.

        Raises:
            ModelError: not readable, or no detector.
        """
        import openvino as ov

        core = ov.Core()
        try:
            model = core.read_model(str(path))
            network = _network(path, model)
            compiled: CompiledModel = core.compile_model(_with_bytes(model, network), "CPU", _properties(cache_dir))
            self._queue: Any = ov.AsyncInferQueue(compiled)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot load the model: {str(error).strip().splitlines()[-1]}", where=str(path)) from error
        self._queue.set_callback(self._done)
        self._failure: Exception | None = None
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        super().__init__("openvino", path, network, thresholds, precision=precision, parallel=len(self._queue))

    def detect(self, pictures: Sequence[Picture]) -> list[list[Detection]]:
        found: list[list[Detection]] = [[] for _ in pictures]
        self._failure = None
        try:
            try:
                for index, picture in enumerate(pictures):
                    request = self._queue.get_idle_request_id()  # waits for one; its canvas is then free too
                    canvas = self._canvases[request]
                    letterbox = canvas.put(picture)
                    self._queue.start_async({0: canvas.pixels[None]}, (found, index, letterbox), share_inputs=True)
            finally:
                self._queue.wait_all()
        except RuntimeError as error:
            raise ModelError(f"OpenVINO failed: {error}", where=self._info.model) from error
        if self._failure is not None:
            raise ModelError(f"decoding failed: {self._failure}", where=self._info.model) from self._failure
        return found

    def close(self) -> None:
        self._queue.wait_all()

    def _done(self, request: Any, job: tuple[list[list[Detection]], int, Letterbox]) -> None:
        found, index, letterbox = job
        try:
            output: Floats = np.asarray(request.get_output_tensor(0).data[0])
            found[index] = self._read(output, letterbox)
        except (ValueError, IndexError, RuntimeError) as error:
            self._failure = error  # an exception cannot cross the library's thread; detect() raises it


def _network(path: Path, model: Model) -> Network:
    names = model.get_rt_info(["framework", "names"]) if model.has_rt_info(["framework", "names"]) else None
    source, target = ([_length(size) for size in port.partial_shape] for port in (model.input(0), model.output(0)))
    return Network.of(str(path), source, target, names.astype(str) if names is not None else None)


def _length(size: Any) -> object:
    return size.get_length() if size.is_static else str(size)


def _with_bytes(model: Model, network: Network) -> Model:
    """The same network with 8-bit (1, height, width, 3) input: conversion, scaling and layout are part of the graph."""
    from openvino import Layout, Type
    from openvino.preprocess import PrePostProcessor  # type: ignore[import-untyped]  # it ships no types

    steps = PrePostProcessor(model)
    steps.input(0).tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
    steps.input(0).model().set_layout(Layout("NCHW"))
    steps.input(0).preprocess().convert_element_type(Type.f32)
    if network.scale != 1.0:
        steps.input(0).preprocess().scale(network.scale)
    return steps.build()


def _properties(cache_dir: Path | None) -> dict[str, Any]:
    properties: dict[str, Any] = {"PERFORMANCE_HINT": "THROUGHPUT"}
    if cache_dir is not None:
        properties["CACHE_DIR"] = str(cache_dir)
    return properties
