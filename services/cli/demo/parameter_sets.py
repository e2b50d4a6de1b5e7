"""Parameter sets (VPS, SPS, PPS) out of a stream's extradata: avcC, hvcC (ISO 14496-15) or Annex B. Pure."""

from __future__ import annotations

import re

_START_CODE = re.compile(rb"\x00\x00\x00?\x01")
H264_SPS, H264_PPS = 7, 8
H265_VPS, H265_SPS, H265_PPS = 32, 33, 34


def nal_type(nal: bytes, codec: str) -> int:
    """`nal_unit_type` of a unit without its start code or length."""
    return nal[0] & 0x1F if codec == "h264" else (nal[0] >> 1) & 0x3F


def _annexb(data: bytes) -> list[bytes]:
    return [nal.rstrip(b"\x00") for nal in _START_CODE.split(data) if nal]


def _avcc(data: bytes) -> list[bytes]:
    found: list[bytes] = []
    at = 5
    for mask in (0x1F, 0xFF):
        count, at = data[at] & mask, at + 1
        for _ in range(count):
            size = int.from_bytes(data[at : at + 2], "big")
            found.append(data[at + 2 : at + 2 + size])
            at += 2 + size
    return found


def _hvcc(data: bytes) -> list[bytes]:
    found: list[bytes] = []
    at = 23
    for _ in range(data[22]):
        count, at = int.from_bytes(data[at + 1 : at + 3], "big"), at + 3
        for _ in range(count):
            size = int.from_bytes(data[at : at + 2], "big")
            found.append(data[at + 2 : at + 2 + size])
            at += 2 + size
    return found


def parameter_sets(extradata: bytes, codec: str) -> tuple[bytes, ...]:
    """The stream's parameter sets in decoding order; empty when the extradata carries none.

    `codec` is `h264` or `h265`.
    """
    if extradata[:3] == b"\x00\x00\x01" or extradata[:4] == b"\x00\x00\x00\x01":
        nals = _annexb(extradata)
    elif codec == "h264":
        nals = _avcc(extradata) if len(extradata) > 6 else []
    else:
        nals = _hvcc(extradata) if len(extradata) > 22 else []
    wanted = (H264_SPS, H264_PPS) if codec == "h264" else (H265_VPS, H265_SPS, H265_PPS)
    return tuple(nal for nal in nals if nal and nal_type(nal, codec) in wanted)
