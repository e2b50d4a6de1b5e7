"""Pictures between their forms: I420 planes, JPEG, BGR, luma. Vendor libraries are imported where they are first used.

I420 is limited range (16..235, as cameras send it), JPEG is full range: levels are stretched on the way, so that black stays black.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from shared.domain.media import Picture, Pixels

#: Of JPEG frames across a broker: 29-31 kB at 640x360.
JPEG_QUALITY = 80


def to_jpeg(picture: Picture, quality: int = JPEG_QUALITY) -> bytes:
    """JPEG bytes; those that the picture holds already are taken as they are."""
    if picture.jpeg is not None:
        return picture.jpeg
    import simplejpeg  # type: ignore[import-untyped]  # has stubs of its compiled part, but no py.typed

    y, u, v = _planes(_i420_of(picture))
    to_full_luma, to_full_chroma, _ = _ranges()
    return bytes(simplejpeg.encode_jpeg_yuv_planes(_map(y, to_full_luma), _map(u, to_full_chroma), _map(v, to_full_chroma), quality))


def to_i420(picture: Picture) -> Pixels:
    """Planar I420, shape (height * 3 // 2, width); a view when the picture holds pixels.

    Raises:
        ValueError: the JPEG bytes are damaged.
    """
    if picture.i420 is not None:
        return picture.i420
    import cv2

    return np.asarray(cv2.cvtColor(to_bgr(picture), cv2.COLOR_BGR2YUV_I420), dtype=np.uint8)


def to_bgr(picture: Picture) -> Pixels:
    """Interleaved full-range BGR, shape (height, width, 3).

    Raises:
        ValueError: the JPEG bytes are damaged.
    """
    if picture.i420 is not None:
        import cv2

        return np.asarray(cv2.cvtColor(picture.i420, cv2.COLOR_YUV2BGR_I420), dtype=np.uint8)
    import simplejpeg

    assert picture.jpeg is not None  # a picture holds one of the two
    return np.asarray(simplejpeg.decode_jpeg(picture.jpeg, "BGR"), dtype=np.uint8)


def luma(picture: Picture) -> Pixels:
    """The Y plane, limited range, shape (height, width); a view when the picture holds pixels.

    Raises:
        ValueError: the JPEG bytes are damaged.
    """
    if picture.i420 is not None:
        return picture.i420[: picture.height]
    import simplejpeg

    assert picture.jpeg is not None  # a picture holds one of the two
    full = np.asarray(simplejpeg.decode_jpeg(picture.jpeg, "GRAY"), dtype=np.uint8)[:, :, 0]
    return _map(full, _ranges()[2])


def from_jpeg(jpeg: bytes) -> Picture:
    """A picture that holds only these JPEG bytes.

    Raises:
        ValueError: no JPEG.
    """
    import simplejpeg

    height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
    return Picture(width=width, height=height, jpeg=jpeg)


def _i420_of(picture: Picture) -> Pixels:
    assert picture.i420 is not None  # a picture holds one of the two
    return picture.i420


def _planes(i420: Pixels) -> tuple[Pixels, Pixels, Pixels]:
    height = i420.shape[0] * 2 // 3
    width = i420.shape[1]
    flat = i420.reshape(-1)
    chroma = (height // 2) * (width // 2)
    y, u, v = flat[: height * width], flat[height * width : height * width + chroma], flat[height * width + chroma :]
    return y.reshape(height, width), u.reshape(height // 2, width // 2), v.reshape(height // 2, width // 2)


@cache
def _ranges() -> tuple[Pixels, Pixels, Pixels]:
    """Look-up tables: limited to full luma, limited to full chroma, full to limited luma (ITU-R BT.601)."""
    level = np.arange(256, dtype=np.float64)
    tables = ((level - 16) * 255 / 219, (level - 128) * 255 / 224 + 128, level * 219 / 255 + 16)
    full_luma, full_chroma, limited_luma = (np.clip(np.rint(table), 0, 255).astype(np.uint8) for table in tables)
    return full_luma, full_chroma, limited_luma


def _map(plane: Pixels, table: Pixels) -> Pixels:
    return np.take(table, plane)
