"""The process that exports: `python -m services.analytics.adapters.export_process WEIGHTS RESULT WIDTH HEIGHT CONFIG_DIR`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from services.analytics.adapters.ultralytics_engine import load


def _tell(share: float) -> None:
    sys.stdout.write(f"PROGRESS {share}\n")
    sys.stdout.flush()


def main(weights: Path, result: Path, width: int, height: int, config_dir: Path) -> None:
    """Export beside `result` and move it there when whole. Ultralytics writes next to its weights, so they are copied first."""
    _tell(0.1)
    copy = shutil.copyfile(weights, result.with_name(f"weights{weights.suffix}"))
    model: Any = load(Path(copy), config_dir)  # the package is untyped
    _tell(0.4)
    # Batch 1, static shapes: what both engines like best. Simplifying gains nothing: both optimise the graph when they load it.
    written = model.export(format="onnx", imgsz=(height, width), dynamic=False, simplify=False, verbose=False)
    _tell(0.9)
    Path(written).replace(result)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
