"""Detection: frames/s of Vedette's engines against plain Ultralytics `predict`, same weights, same input size, same frames, same run.

    python bench/detect.py [--frames 96] [--rounds 3] [--only OpenVINO]

Both sides work on the same slice of a dozen frames, in turns (A B, B A, A B ...), so that whatever else the machine does hits both: a pair
takes about a second. The ratio is the median of the pairs' ratios, told with its quartiles. Boxes are compared with those of `predict`.
Nothing here gates a test.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from services.analytics.adapters.detector import Detector, Thresholds
from services.analytics.adapters.export import exported
from services.analytics.adapters.models import ModelManager
from services.analytics.adapters.onnx_engine import OnnxDetector
from services.analytics.adapters.openvino_engine import OpenVinoDetector
from services.analytics.adapters.ultralytics_engine import load
from services.analytics.core.boxes import iou_matrix
from services.analytics.core.classes import TARGET_OF_NAME
from shared.domain.media import Picture
from shared.domain.targets import Detection, TargetClass
from shared.media.pictures import to_bgr

WIDTH, HEIGHT = 640, 384
AT = Thresholds(confidence=0.25, iou=0.7)
#: Frames per call of an engine: what a batch of waiting channels is.
BATCH = 4
#: Frames of a slice: a multiple of BATCH.
SLICE = 12
DATA = Path(os.environ.get("VEDETTE_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))

Found = list[list[Detection]]


def footage(count: int) -> list[Picture]:
    """Frames of both scenes with people, evenly spread, all 640x360.

    `predict` pads a picture to the next multiple of 32 only, so a 4:3 picture would get a smaller input than 640x384: the second scene
    is cut to 16:9 at its middle, and both sides really work on the same input.
    """
    import av

    found = []
    for name, width, height in (("one-by-one-person-detection.mp4", 640, 360), ("TUD-Campus.mp4", 640, 480)):
        path = DATA / "video" / name
        if not path.exists():
            sys.exit(f"{path} is missing: set VEDETTE_TEST_DATA to the folder that holds video/{name}")
        with av.open(str(path)) as clip:
            frames = [f.reformat(width, height, "yuv420p").to_ndarray() for f in clip.decode(video=0)]
        found += [_cut(frames[round(i)], width, height) for i in np.linspace(0, len(frames) - 1, count // 2)]
    return found


def _cut(i420: Any, width: int, height: int) -> Picture:
    """The middle 640x360 of a picture."""
    top = (height - 360) // 2
    luma, chroma = i420[:height], i420[height:].reshape(2, height // 2, width // 2)
    parts = [luma[top : top + 360].ravel(), *(plane[top // 2 : top // 2 + 180].ravel() for plane in chroma)]
    return Picture(640, 360, i420=np.concatenate(parts).reshape(540, 640))


class Predict:
    """Plain `YOLO.predict` on BGR pictures, one by one, as its documentation shows; results as detections of ours."""

    def __init__(self, weights: Path, config_dir: Path) -> None:
        self._model: Any = load(weights, config_dir)
        self._wanted = [number for number, name in self._model.names.items() if name in TARGET_OF_NAME]

    def run(self, pictures: Sequence[Picture]) -> Found:
        return [self._one(picture) for picture in pictures]

    def _one(self, picture: Picture) -> list[Detection]:
        from shared.domain.geometry import Box

        (result,) = self._model.predict(to_bgr(picture), imgsz=[HEIGHT, WIDTH], conf=AT.confidence, iou=AT.iou, verbose=False)
        found = []
        for x1, y1, x2, y2, score, number in result.boxes.data.cpu().numpy().tolist():
            target = TARGET_OF_NAME.get(self._model.names[int(number)])
            if target is not None:
                box = Box(x1 / picture.width, y1 / picture.height, x2 / picture.width, y2 / picture.height)
                found.append(Detection(box, target, score))
        return found


def in_batches(engine: Detector) -> Callable[[Sequence[Picture]], Found]:
    def run(pictures: Sequence[Picture]) -> Found:
        return [found for start in range(0, len(pictures), BATCH) for found in engine.detect(pictures[start : start + BATCH])]

    return run


def seconds(run: Callable[[Sequence[Picture]], Found], pictures: Sequence[Picture]) -> float:
    """How long one pass takes."""
    began = time.perf_counter()
    run(pictures)
    return time.perf_counter() - began


def agreement(found: Found, true: Found) -> tuple[float, float, int]:
    """Recall at IoU 0.5 per class, mean IoU of what matched, boxes of `true`. One box answers one box."""
    hits, overlaps, total = 0, 0.0, 0
    for mine, theirs in zip(found, true, strict=True):
        for target in TargetClass:
            a, b = _corners(theirs, target), _corners(mine, target)
            total += len(a)
            overlap = iou_matrix(a, b)
            while overlap.size and overlap.max() >= 0.5:
                row, column = np.unravel_index(overlap.argmax(), overlap.shape)
                hits, overlaps = hits + 1, overlaps + float(overlap[row, column])
                overlap[row, :] = overlap[:, column] = 0
    return hits / max(1, total), overlaps / max(1, hits), total


def _corners(found: Sequence[Detection], target: TargetClass) -> Any:
    boxes = [(d.box.x1, d.box.y1, d.box.x2, d.box.y2) for d in found if d.target is target]
    return np.array(boxes, dtype=np.float32).reshape(-1, 4)


def compare(
    name: str, ours: Callable[[Sequence[Picture]], Found], predict: Predict, pictures: list[Picture], rounds: int, threads: int
) -> None:
    """One row per engine: slices in turns, with torch at `threads` threads (0: as it likes)."""
    import torch

    def theirs(some: Sequence[Picture]) -> Found:
        if threads:
            torch.set_num_threads(threads)
        return predict.run(some)

    pairs = []
    for start in range(0, len(pictures) * rounds, SLICE):
        some = pictures[start % len(pictures) :][:SLICE]
        if start // SLICE % 2:
            mine, other = seconds(ours, some), seconds(theirs, some)
        else:
            other, mine = seconds(theirs, some), seconds(ours, some)
        pairs.append((len(some) / mine, len(some) / other))
    a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
    low, ratio, high = statistics.quantiles([mine / other for mine, other in pairs], n=4)
    print(f"| {name:<34} | {a:9.1f} | {b:9.1f} | {ratio:5.2f} x ({low:.2f} to {high:.2f}, {len(pairs)} pairs) |", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--frames", type=int, default=96)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--only", default="", help="rows whose name begins like this")
    chosen = arguments.parse_args()
    manager = ModelManager()
    weights = manager.get("yolov8n")
    onnx = exported(weights, input_width=WIDTH, input_height=HEIGHT, cache=manager.folder)
    pictures = footage(chosen.frames)
    pictures = [pictures[i] for i in np.random.default_rng(1).permutation(len(pictures))]  # both halves hold both scenes
    engines: list[tuple[str, Detector]] = [("OpenVINO", OpenVinoDetector(onnx, AT)), ("ONNX Runtime", OnnxDetector(onnx, AT))]
    predict = Predict(weights, manager.folder / "ultralytics")
    true = predict.run(pictures)
    import torch

    default, cores = torch.get_num_threads(), os.cpu_count() or 1
    print(
        f"\n{len(pictures)} frames, input {WIDTH}x{HEIGHT}, {cores} cores, slices of {SLICE} in turns; "
        f"predict's own torch threads: {default}\n"
    )
    print("| engine, against predict            | frames/s  | predict's | ratio (quartiles) |\n|---|---|---|---|")
    for name, engine in engines:
        torch.set_num_threads(default)
        for row, threads in ((f"{name}, its defaults", 0), (f"{name}, torch on all cores", cores)):
            if row.startswith(chosen.only):
                compare(row, in_batches(engine), predict, pictures, chosen.rounds, threads)
    print("\n| engine | recall at IoU 0.5 | mean IoU | boxes of predict |\n|---|---|---|---|")
    for name, engine in engines:
        recall, overlap, total = agreement(engine.detect(pictures), true)
        print(f"| {name} {engine.info.precision} | {recall:.4f} | {overlap:.4f} | {total} |")
        engine.close()


if __name__ == "__main__":
    main()
