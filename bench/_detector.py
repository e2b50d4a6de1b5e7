"""The detector alone, for bench/workers.py: `python -m bench._detector openvino|predict SECONDS` prints frames/s, and frames
per second of CPU. Pictures are in memory.

Runs with the cores that it was given; `predict` is plain Ultralytics with one torch thread.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench._frames import people
from bench.detect import AT, BATCH, HEIGHT, WIDTH, Predict, in_batches
from services.analytics.adapters.export import exported
from services.analytics.adapters.models import ModelManager
from services.analytics.adapters.openvino_engine import OpenVinoDetector
from shared.domain.media import Picture
from shared.media.pictures import from_jpeg

WARM_UP = 3


def engine(name: str) -> Callable[[Sequence[Picture]], Any]:
    """What takes a few pictures and finds people."""
    manager = ModelManager()
    weights = manager.get("yolov8n")
    if name == "openvino":
        return in_batches(OpenVinoDetector(exported(weights, input_width=WIDTH, input_height=HEIGHT, cache=manager.folder), AT))
    import torch

    torch.set_num_threads(1)
    return Predict(weights, manager.folder / "ultralytics").run


def main() -> None:
    name, seconds = sys.argv[1], float(sys.argv[2])
    run, pictures = engine(name), [from_jpeg(jpeg) for jpeg in people()]
    for _ in range(WARM_UP):
        run(pictures[:BATCH])
    done, began, used = 0, time.monotonic(), time.process_time()
    while time.monotonic() < began + seconds:
        at = done % (len(pictures) - BATCH)
        run(pictures[at : at + BATCH])
        done += BATCH
    print(done / (time.monotonic() - began), done / (time.process_time() - used))


if __name__ == "__main__":
    main()
