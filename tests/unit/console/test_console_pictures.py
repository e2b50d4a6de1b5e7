"""Live pictures: the colours of the frame, whatever range its pixels have."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg  # type: ignore[import-untyped]  # it ships no types

from services.console.pictures import to_jpeg
from shared.domain.media import Picture


@pytest.mark.parametrize(("full_range", "black", "white"), [(False, 16, 235), (True, 0, 255)])
@pytest.mark.parametrize("height", [32, 34])
def test_black_stays_black_and_white_stays_white(full_range: bool, black: int, white: int, height: int) -> None:
    luma = np.full((height, 64), black, np.uint8)
    luma[:, 32:] = white
    chroma = np.full((height // 2, 64), 128, np.uint8)
    picture = Picture(64, height, np.concatenate([luma, chroma]), full_range=full_range)
    rgb = simplejpeg.decode_jpeg(to_jpeg(picture))
    assert rgb.shape == (height, 64, 3)
    assert rgb[:, :24].max() <= 3
    assert rgb[:, 40:].min() >= 252


def test_jpeg_bytes_go_on_as_they_are() -> None:
    assert to_jpeg(Picture(2, 2, jpeg=b"jpeg")) == b"jpeg"
