"""People and a bus cut out of the photograph `bus.jpg` that the ultralytics package carries, and a backdrop made of it.

Outlines were drawn on the photograph (810 x 1080 px); GrabCut refines them at build time. Deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.domain.errors import ConfigError

Image = NDArray[np.uint8]
PHOTO_SIZE = (810, 1080)
_WORK_SEED = 7


@dataclass(frozen=True, slots=True)
class Outline:
    """Where a figure is in the photograph: `outer` contains all of it, `inner` nothing else (pixel polygons)."""

    name: str
    outer: tuple[tuple[int, int], ...]
    inner: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Cutout:
    """A figure on transparent ground, cropped to its mask: BGR uint8 (h, w, 3) and alpha float32 (h, w) 0..1."""

    name: str
    bgr: Image
    alpha: NDArray[np.float32]

    @property
    def aspect(self) -> float:
        """Width over height."""
        height, width = self.alpha.shape
        return float(width / height)

    def mirrored(self) -> Cutout:
        """The same figure facing the other way."""
        return Cutout(self.name, np.ascontiguousarray(self.bgr[:, ::-1]), np.ascontiguousarray(self.alpha[:, ::-1]))


MAN_IN_FLEECE = Outline(
    "man_in_fleece",
    outer=(
        (98, 392),
        (165, 392),
        (172, 470),
        (208, 540),
        (206, 600),
        (196, 690),
        (200, 850),
        (250, 878),
        (248, 904),
        (175, 904),
        (168, 840),
        (150, 740),
        (130, 740),
        (112, 868),
        (112, 908),
        (46, 900),
        (50, 862),
        (62, 845),
        (72, 760),
        (74, 708),
        (56, 700),
        (52, 500),
        (96, 455),
    ),
    inner=(
        (108, 408),
        (152, 408),
        (152, 460),
        (180, 520),
        (190, 560),
        (180, 680),
        (186, 850),
        (215, 880),
        (190, 890),
        (165, 760),
        (140, 690),
        (115, 690),
        (90, 860),
        (90, 890),
        (66, 880),
        (84, 720),
        (68, 520),
        (108, 470),
    ),
)
MAN_IN_COAT = Outline(
    "man_in_coat",
    outer=(
        (258, 402), (312, 402), (314, 470), (346, 510), (345, 556), (334, 590), (339, 690), (341, 725), (305, 790), (304, 824), (284, 822),
        (296, 862), (250, 862), (246, 800), (240, 706), (220, 704), (232, 520), (240, 500), (262, 470),
    ),
    inner=(
        (270, 414), (302, 414), (304, 480), (330, 515), (332, 680), (325, 720), (285, 775), (284, 845), (262, 845),
        (254, 720), (236, 690), (244, 530), (270, 490),
    ),
)  # fmt: skip
BUS = Outline(
    "bus",
    outer=(
        (36, 330), (60, 255), (180, 228), (240, 228), (560, 252), (700, 262), (746, 300), (796, 312), (806, 420), (796, 560),
        (768, 600), (764, 660), (730, 682), (690, 660), (470, 700), (380, 706), (352, 738), (330, 732), (180, 728), (60, 700), (16, 640),
        (16, 470), (34, 400),
    ),
    inner=(
        (60, 330), (80, 275), (190, 245), (560, 268), (690, 280), (780, 325), (785, 480), (700, 560), (600, 640),
        (400, 680), (350, 715), (220, 700), (80, 670), (40, 630), (40, 480),
    ),
)  # fmt: skip


def photograph() -> Path:
    """The photograph's file.

    Raises:
        ConfigError: the ultralytics package is not installed.
    """
    hint = "install the analytics extra"
    try:
        file = Path(str(files("ultralytics"))) / "assets" / "bus.jpg"
    except ModuleNotFoundError as error:
        raise ConfigError("the demo scene needs the photographs of the ultralytics package", hint=hint) from error
    if not file.exists():
        raise ConfigError("the ultralytics package carries no assets/bus.jpg", hint=hint)
    return file


def read_photo(file: Path) -> Image:
    """The photograph as BGR.

    Raises:
        ConfigError: it is not the photograph that the outlines were drawn on.
    """
    image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if image is None or (image.shape[1], image.shape[0]) != PHOTO_SIZE:
        raise ConfigError("is not the photograph of 810 x 1080 px that the demo's outlines fit", where=file.name)
    return cast(Image, image)


def _fill(shape: tuple[int, int], polygon: tuple[tuple[int, int], ...]) -> Image:
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.array(polygon, np.int32)], 1)
    return mask


def cut_out(photo: Image, outline: Outline, *, refine: bool = True) -> Cutout:
    """Cut one figure with a soft edge. Between the inner and the outer outline GrabCut decides, when `refine`."""
    shape = photo.shape[:2]
    outer = _fill((shape[0], shape[1]), outline.outer)
    mask = outer
    if refine:
        trimap = np.where(outer == 1, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
        trimap[_fill((shape[0], shape[1]), outline.inner) == 1] = cv2.GC_FGD
        cv2.setRNGSeed(_WORK_SEED)
        background, foreground = np.zeros((1, 65), np.float64), np.zeros((1, 65), np.float64)
        cv2.grabCut(photo, trimap, (0, 0, 1, 1), background, foreground, 4, cv2.GC_INIT_WITH_MASK)
        mask = ((trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)).astype(np.uint8)
        mask = _largest(np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8)), np.uint8))
    x, y, width, height = cv2.boundingRect(mask)
    alpha = cv2.GaussianBlur(cv2.erode(mask, np.ones((3, 3), np.uint8)).astype(np.float32), (5, 5), 0)
    area = slice(y, y + height), slice(x, x + width)
    return Cutout(outline.name, photo[area].copy(), cast("NDArray[np.float32]", alpha[area].copy()))


def _largest(mask: Image) -> Image:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    return np.asarray(labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])), np.uint8)


def cut_out_bus(photo: Image) -> Cutout:
    """The bus, with the people before it painted over."""
    people = np.zeros(photo.shape[:2], np.uint8)
    for outline in (MAN_IN_FLEECE, MAN_IN_COAT):
        people |= _fill((photo.shape[0], photo.shape[1]), outline.outer)
    people[390:, :62] = 1  # the passer-by at the left edge
    people[560:760, 425:462] = people[620:720, 658:690] = 1  # bollards
    people[390:700, 725:] = 1  # the man at the right edge
    people = np.asarray(cv2.dilate(people, np.ones((9, 9), np.uint8)), np.uint8)
    small = cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    mask = cv2.resize(people, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_NEAREST)
    painted = cv2.inpaint(small, mask, 6, cv2.INPAINT_TELEA)
    filled = np.asarray(cv2.resize(painted, PHOTO_SIZE, interpolation=cv2.INTER_LINEAR), np.uint8)
    _paint_front(filled)
    clean = np.where(people[..., None] == 1, filled, photo).astype(np.uint8)
    return cut_out(clean, BUS, refine=False)


def _paint_front(image: Image) -> None:
    """Windscreen, sheet metal and bumper where the men hid them: plain areas in the photograph's own colours (BGR)."""
    for polygon, colour in (
        (((0, 340), (250, 340), (250, 548), (0, 566)), (42, 44, 40)),
        (((0, 566), (250, 548), (380, 560), (380, 660), (0, 660)), (176, 100, 38)),
        (((0, 650), (330, 665), (330, 760), (0, 760)), (120, 116, 108)),
    ):
        cv2.fillPoly(image, [np.array(polygon, np.int32)], colour)
    cv2.ellipse(image, (345, 672), (34, 66), 0, 0, 360, (38, 36, 34), -1)  # the front wheel
    image[340:760, :390] = cv2.GaussianBlur(image[340:760, :390], (9, 9), 0)


def backdrop(photo: Image, size: tuple[int, int]) -> Image:
    """An empty street of (width, height) px: the photograph's facade above, its pavement below, a road between."""
    width, height = size
    facade = _tiled(photo[0:225, 0:810], width, round(height * 0.47))
    pavement = _tiled(photo[905:1075, 250:680], width, height - round(height * 0.64))
    road_height = height - facade.shape[0] - pavement.shape[0]
    rng = np.random.default_rng(_WORK_SEED)
    grain = cv2.GaussianBlur(rng.normal(0, 14, (road_height, width)).astype(np.float32), (3, 3), 0)
    shade = np.linspace(88, 112, road_height, dtype=np.float32)[:, None]
    road = np.clip(shade + grain, 0, 255).astype(np.uint8)
    street = np.vstack([cv2.GaussianBlur(facade, (5, 5), 0), cv2.cvtColor(road, cv2.COLOR_GRAY2BGR), pavement])
    kerb = facade.shape[0] + road_height
    cv2.rectangle(street, (0, kerb - 6), (width, kerb + 3), (150, 155, 160), -1)
    return cast(Image, street)


def _tiled(piece: Image, width: int, height: int) -> Image:
    scale = height / piece.shape[0]
    tile = cv2.resize(piece, (round(piece.shape[1] * scale), height), interpolation=cv2.INTER_CUBIC)
    row = [tile if number % 2 == 0 else tile[:, ::-1] for number in range(width // tile.shape[1] + 1)]
    return cast(Image, np.hstack(row)[:, :width])
