"""Pictures between I420, JPEG, BGR and luma."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from shared.domain.media import Picture, Pixels
from shared.media.pictures import from_jpeg, luma, to_bgr, to_i420, to_jpeg


@pytest.fixture
def scene() -> Pixels:
    """A smooth coloured picture, BGR, with black and white in it."""
    small = np.random.default_rng(7).integers(0, 256, (9, 16, 3), np.uint8)
    small[0, :8], small[0, 8:] = 0, 255
    return np.asarray(cv2.resize(small, (320, 180), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


@pytest.fixture
def pixels(scene: Pixels) -> Picture:
    return Picture(320, 180, i420=np.asarray(cv2.cvtColor(scene, cv2.COLOR_BGR2YUV_I420), dtype=np.uint8))


def difference(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_a_picture_is_the_same_through_jpeg(scene: Pixels, pixels: Picture) -> None:
    coded = from_jpeg(to_jpeg(pixels))
    assert (coded.width, coded.height, coded.i420) == (320, 180, None)
    assert difference(to_bgr(pixels), scene) < 3
    assert difference(to_bgr(coded), scene) < 5
    assert difference(luma(coded), luma(pixels)) < 2
    assert difference(to_i420(coded), to_i420(pixels)) < 3


def test_black_and_white_stay_so(pixels: Picture) -> None:
    """Limited-range levels must be stretched for JPEG: else black is dark grey."""
    bgr = to_bgr(from_jpeg(to_jpeg(pixels)))
    assert bgr[2, 40].max() <= 8
    assert bgr[2, 300].min() >= 247


def test_pixels_are_not_copied_and_jpeg_is_not_coded_again(pixels: Picture) -> None:
    assert to_i420(pixels) is pixels.i420
    assert np.shares_memory(luma(pixels), to_i420(pixels))
    jpeg = to_jpeg(pixels)
    assert to_jpeg(from_jpeg(jpeg)) is jpeg


def test_a_view_that_is_not_contiguous_is_coded_all_the_same(pixels: Picture) -> None:
    wide = np.zeros((270, 400), np.uint8)
    wide[:, :320] = to_i420(pixels)
    assert to_jpeg(Picture(320, 180, i420=wide[:, :320])) == to_jpeg(pixels)


def test_bytes_that_are_no_jpeg_are_refused() -> None:
    with pytest.raises(ValueError, match=r".+"):
        from_jpeg(b"GIF89a")
    with pytest.raises(ValueError, match=r".+"):
        to_bgr(Picture(2, 2, jpeg=b"\xff\xd8\xff"))
