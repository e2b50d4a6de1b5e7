"""The demo scenes: who walks where and when, drawn and encoded as two cameras with a main and a sub stream each.

`gate`: people cross a vertical line in both directions, one turns back before it. `yard`: a bus drives through, a person
enters a zone, waits and leaves, another turns back before it. Nobody is in the picture at either end, so a loop has no seam.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from services.cli.demo.cutouts import MAN_IN_COAT, MAN_IN_FLEECE, Cutout, Image, backdrop, cut_out, cut_out_bus, photograph, read_photo
from services.cli.demo.encode import SUB_HEIGHT, SUB_WIDTH, CameraPair, Progress, clip_writer
from services.cli.demo.scene_truth import Actor, RectZone, SceneTruth, VerticalLine, Waypoint, scene_truth
from shared.domain.geometry import Box
from shared.domain.targets import TargetClass

MAIN_SIZE, MAIN_FPS = (1280, 720), 15
SUB_SIZE, SUB_FPS = (SUB_WIDTH, SUB_HEIGHT), 10
FIGURE_ASPECTS = {"man_in_fleece": 0.379, "man_in_coat": 0.267, "bus": 1.548}  # of the cut-outs; a test compares them
_SCENE_VERSION = 1  # raise it when drawing changes, so that caches are rebuilt
_SEED = 20
_NOISE_PATTERNS = 8


def _person(name: str, figure: str, height: float, *path: tuple[float, float, float]) -> Actor:
    waypoints = tuple(Waypoint(*point) for point in path)
    return Actor(name, figure, TargetClass.HUMAN, height, FIGURE_ASPECTS[figure], waypoints)


def _walk(name: str, figure: str, start_s: float, *, rightwards: bool, y: float = 0.92, height: float = 0.44) -> Actor:
    """Straight through the picture in 7.5 s: 1.4 m/s for a man of 1.75 m."""
    ends = (-0.08, 1.08) if rightwards else (1.08, -0.08)
    return _person(name, figure, height, (start_s, ends[0], y), (start_s + 7.5, ends[1], y))


GATE = scene_truth(
    "gate",
    46.0,
    (
        _walk("first", "man_in_fleece", 1.5, rightwards=True),
        _walk("second", "man_in_coat", 10.0, rightwards=False, y=0.89, height=0.42),
        _walk("third", "man_in_coat", 18.5, rightwards=True, y=0.9, height=0.42),
        _walk("fourth", "man_in_fleece", 21.0, rightwards=True),
        _walk("fifth", "man_in_fleece", 29.5, rightwards=False),
        _walk("sixth", "man_in_fleece", 34.75, rightwards=False),  # as many leave as come, or a count would grow with every loop
        _person("turns_back", "man_in_coat", 0.42, (38.0, 1.08, 0.9), (40.5, 0.7, 0.9), (43.0, 1.08, 0.9)),
    ),
    lines=(VerticalLine("gate-line", 0.5),),
)
YARD = scene_truth(
    "yard",
    32.0,
    (
        Actor(
            "line_bus",
            "bus",
            TargetClass.MOTOR_VEHICLE,
            0.42,
            FIGURE_ASPECTS["bus"],
            (Waypoint(2.0, 1.2, 0.65), Waypoint(9.0, -0.2, 0.65)),
        ),
        _person("visitor", "man_in_fleece", 0.44, (11.0, -0.08, 0.92), (15.5, 0.58, 0.92), (19.5, 0.58, 0.92), (23.0, 1.08, 0.92)),
        _person("turns_back", "man_in_coat", 0.42, (25.0, 1.08, 0.9), (26.5, 0.9, 0.9), (27.0, 0.9, 0.9), (28.5, 1.08, 0.9)),
    ),
    zones=(RectZone("yard-zone", Box(0.36, 0.74, 0.8, 0.98)),),
)
SCENES = (GATE, YARD)


@dataclass(frozen=True, slots=True)
class SceneFiles:
    """A built scene: its two streams, and what is true of them."""

    files: CameraPair
    truth: SceneTruth


class Painter:
    """Draws any moment of a scene. Holds the backdrop, the cut-outs and a few noise patterns; same input, same bytes."""

    def __init__(self, photo: Image) -> None:
        self._backdrop = backdrop(photo, MAIN_SIZE)
        cutouts = (cut_out(photo, MAN_IN_FLEECE), cut_out(photo, MAN_IN_COAT), cut_out_bus(photo))
        self.cutouts = {cutout.name: cutout for cutout in cutouts}
        self._mirrored = {name: cutout.mirrored() for name, cutout in self.cutouts.items()}
        rng = np.random.default_rng(_SEED)
        shape = (MAIN_SIZE[1], MAIN_SIZE[0], 1)
        self._noise = [
            np.repeat(np.clip(rng.normal(0, 1.5, shape), -6, 6).round().astype(np.int8), 3, axis=2) for _ in range(_NOISE_PATTERNS)
        ]

    def draw(self, truth: SceneTruth, time_s: float, number: int) -> Image:
        """The picture at a time, BGR (720, 1280, 3); `number` picks the sensor noise."""
        picture = self._backdrop.copy()
        standing = [(actor, box) for actor in truth.actors if (box := actor.box(time_s)) is not None]
        for actor, box in sorted(standing, key=lambda pair: pair[1].y2):
            mirrored = (actor.heading(time_s) < 0) is not actor.faces_left
            _paste(picture, (self._mirrored if mirrored else self.cutouts)[actor.figure], box)
        noisy = cv2.add(picture, self._noise[number % _NOISE_PATTERNS], dtype=cv2.CV_8U)
        return cast(Image, noisy)


def _paste(picture: Image, cutout: Cutout, box: Box) -> None:
    """Blend a figure into its box with sub-pixel placement, clipped to the picture."""
    height, width = picture.shape[:2]
    x1, y1 = max(0, int(box.x1 * width) - 1), max(0, int(box.y1 * height) - 1)
    x2, y2 = min(width, int(box.x2 * width) + 2), min(height, int(box.y2 * height) + 2)
    if x2 <= x1 or y2 <= y1:
        return
    scale_x, scale_y = box.width * width / cutout.bgr.shape[1], box.height * height / cutout.bgr.shape[0]
    blur = max(1.0, 1 / scale_y)  # the photograph is larger than the figure: smooth it first, or it flickers
    place = np.array([[scale_x, 0, box.x1 * width - x1], [0, scale_y, box.y1 * height - y1]], np.float64)
    size = (x2 - x1, y2 - y1)
    sharp = cv2.GaussianBlur(cutout.bgr, (0, 0), 0.35 * blur)
    figure = cv2.warpAffine(sharp, place, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(cutout.alpha, place, size, flags=cv2.INTER_LINEAR)[..., None]
    area = picture[y1:y2, x1:x2]
    area[:] = (area * (1 - alpha) + np.asarray(figure) * alpha + 0.5).astype(np.uint8)


def scene_pictures(painter: Painter, truth: SceneTruth, fps: int) -> Iterator[Image]:
    """Every picture of one pass."""
    for number in range(round(truth.duration_s * fps)):
        yield painter.draw(truth, number / fps, number)


def _files(truth: SceneTruth, photo_bytes: bytes, folder: Path) -> CameraPair:
    what = f"{_SCENE_VERSION}{truth!r}{MAIN_SIZE}{MAIN_FPS}{SUB_SIZE}{SUB_FPS}".encode()
    digest = hashlib.sha256(photo_bytes + what).hexdigest()[:16]
    return CameraPair(folder / f"{truth.name}-{digest}-main.mp4", folder / f"{truth.name}-{digest}-sub.mp4")


def build_scenes(folder: Path, progress: Progress | None = None, scenes: tuple[SceneTruth, ...] = SCENES) -> tuple[SceneFiles, ...]:
    """The scenes' files in `folder`, built when they are not there yet.

    Blocking, up to half a minute; call it in a thread.

    Raises:
        ConfigError: the ultralytics package with its photographs is not installed.
    """
    photo_file = photograph()
    photo_bytes = photo_file.read_bytes()
    painter: Painter | None = None
    built: list[SceneFiles] = []
    for truth in scenes:
        files = _files(truth, photo_bytes, folder)
        if not (files.main.exists() and files.sub.exists()):
            folder.mkdir(parents=True, exist_ok=True)
            painter = painter or Painter(read_photo(photo_file))
            _build(painter, truth, files, progress)
        built.append(SceneFiles(files, truth))
    return tuple(built)


def _build(painter: Painter, truth: SceneTruth, files: CameraPair, progress: Progress | None) -> None:
    total = round(truth.duration_s * MAIN_FPS) + round(truth.duration_s * SUB_FPS)
    done = 0
    for file, size, fps in ((files.main, MAIN_SIZE, MAIN_FPS), (files.sub, SUB_SIZE, SUB_FPS)):
        with clip_writer(file, size, Fraction(fps)) as writer:
            for picture in scene_pictures(painter, truth, fps):
                writer.write_bgr(_fitted(picture, size))
                done += 1
                if progress is not None and done % 25 == 0:
                    progress(truth.name, done, total)
    if progress is not None:
        progress(truth.name, total, total)


def _fitted(picture: Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    return cast("NDArray[np.uint8]", cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
