"""From the configuration to a detector that is ready: fetch, export, load. Blocks for seconds to minutes at first use: for a thread."""

from __future__ import annotations

import importlib.util

from services.analytics.adapters.detector import Detector, Thresholds
from services.analytics.adapters.export import exported
from services.analytics.adapters.models import ModelManager, Progress, no_progress
from services.analytics.adapters.tracker import CONTINUE_SCORE
from shared.config.services import AnalyticsConfig, Engine
from shared.domain.errors import ModelError

#: In the order in which `auto` takes them, with the module each needs.
_MODULES = {Engine.OPENVINO: "openvino", Engine.ONNX: "onnxruntime", Engine.ULTRALYTICS: "ultralytics"}


def choose(engine: Engine) -> Engine:
    """The engine that runs: the one asked for, or the first that is installed.

    Raises:
        ModelError: it is not installed.
    """
    wanted = list(_MODULES) if engine is Engine.AUTO else [engine]
    for candidate in wanted:
        if importlib.util.find_spec(_MODULES[candidate]) is not None:
            return candidate
    raise ModelError(
        f"{' or '.join(_MODULES[one] for one in wanted)} is not installed", where="analytics.engine", hint="install `vedette[analytics]`"
    )


def prepare(config: AnalyticsConfig, progress: Progress = no_progress) -> Detector:
    """A detector that is ready to run.

    Raises:
        ModelError: what is wrong and what to do.
    """
    engine = choose(config.engine)
    manager = ModelManager(config.models_dir, config.offline_sources)
    # Boxes too weak to be shown still continue tracks.
    thresholds = Thresholds(min(CONTINUE_SCORE, config.confidence), config.iou)
    weights = manager.get(config.model, progress)
    size = {"input_width": config.input_width, "input_height": config.input_height}
    if engine is Engine.ULTRALYTICS:
        from services.analytics.adapters.ultralytics_engine import UltralyticsDetector

        progress("loading the model", None)
        return UltralyticsDetector(weights, thresholds, config_dir=manager.folder / "ultralytics", **size)
    if weights.suffix == ".pt":
        weights = exported(weights, cache=manager.folder, progress=progress, **size)
    progress("loading the model", None)
    if engine is Engine.OPENVINO:
        from services.analytics.adapters.openvino_engine import OpenVinoDetector

        return OpenVinoDetector(weights, thresholds, cache_dir=manager.folder / "openvino")
    from services.analytics.adapters.onnx_engine import OnnxDetector

    return OnnxDetector(weights, thresholds)
