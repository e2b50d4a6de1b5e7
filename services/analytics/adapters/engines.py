"""From the configuration to a detector that is ready: files (fetched, exported), then an engine on them. All of it blocks."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np

from services.analytics.adapters.detector import Detector, Thresholds
from services.analytics.adapters.export import export_path, exported
from services.analytics.adapters.models import ModelManager, Progress, no_progress
from services.analytics.adapters.tracker import CONTINUE_SCORE
from shared.config.services import AnalyticsConfig, Engine
from shared.domain.errors import ModelError
from shared.domain.media import Picture

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


def model_file(config: AnalyticsConfig, progress: Progress = no_progress) -> Path:
    """The file that the engine loads; fetched and exported first where it is not there: minutes at first use.

    Raises:
        ModelError: what is wrong and what to do.
    """
    manager = _manager(config)
    weights = manager.get(config.model, progress)
    if not _needs_export(config, weights):
        return weights
    return exported(weights, cache=manager.folder, progress=progress, input_width=config.input_width, input_height=config.input_height)


def model_file_here(config: AnalyticsConfig) -> Path | None:
    """The file that the engine loads, or None when `model_file` would have to fetch or export it.

    Raises:
        ModelError: there can be no such file.
    """
    manager = _manager(config)
    weights = manager.find(config.model)
    if weights is None or not _needs_export(config, weights):
        return weights
    target = export_path(weights, cache=manager.folder, input_width=config.input_width, input_height=config.input_height)
    return target if target.is_file() else None


def load(config: AnalyticsConfig, file: Path) -> Detector:
    """An engine on `file`, tried once on an empty picture: what cannot run at all is told here, not by the first frame.

    Raises:
        ModelError: the file cannot be loaded, or not run.
    """
    detector = _make(config, file)
    blank = np.full((config.input_height * 3 // 2, config.input_width), 128, dtype=np.uint8)
    try:
        detector.detect([Picture(config.input_width, config.input_height, i420=blank)])
    except ModelError:
        detector.close()
        raise
    return detector


def discard(config: AnalyticsConfig, file: Path) -> bool:
    """Remove what cannot be loaded, where it is ours and can be made again; whether it was. A model that a person put there stays."""
    manager = _manager(config)
    shutil.rmtree(_compiled(manager), ignore_errors=True)
    if file.parent != manager.folder / "exported":
        return False
    file.unlink(missing_ok=True)
    return True


def prepare(config: AnalyticsConfig, progress: Progress = no_progress) -> Detector:
    """A detector that is ready to run.

    Raises:
        ModelError: what is wrong and what to do.
    """
    file = model_file(config, progress)
    progress("loading the model", None)
    try:
        return load(config, file)
    except ModelError:
        if not discard(config, file):
            raise
    return load(config, model_file(config, progress))


def _make(config: AnalyticsConfig, file: Path) -> Detector:
    engine = choose(config.engine)
    # Boxes too weak to be shown still continue tracks.
    thresholds = Thresholds(min(CONTINUE_SCORE, config.confidence), config.iou)
    manager = _manager(config)
    if engine is Engine.ULTRALYTICS:
        from services.analytics.adapters.ultralytics_engine import UltralyticsDetector

        size = {"input_width": config.input_width, "input_height": config.input_height}
        return UltralyticsDetector(file, thresholds, config_dir=manager.folder / "ultralytics", **size)
    if engine is Engine.OPENVINO:
        from services.analytics.adapters.openvino_engine import OpenVinoDetector

        return OpenVinoDetector(file, thresholds, cache_dir=_compiled(manager))
    from services.analytics.adapters.onnx_engine import OnnxDetector

    return OnnxDetector(file, thresholds)


def _needs_export(config: AnalyticsConfig, weights: Path) -> bool:
    return weights.suffix == ".pt" and choose(config.engine) is not Engine.ULTRALYTICS


def _manager(config: AnalyticsConfig) -> ModelManager:
    return ModelManager(config.models_dir, config.offline_sources)


def _compiled(manager: ModelManager) -> Path:
    """Where OpenVINO keeps compiled networks."""
    return manager.folder / "openvino"
