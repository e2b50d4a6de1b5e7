"""Parameter sets (VPS, SPS, PPS) inside H.264 and H.265 byte streams, and the digest of all that segments of one file share."""

from __future__ import annotations

import hashlib

from shared.domain.media import VideoCodec

SCAN_BYTES = 4096  # parameter sets come before the picture; a picture is much larger than this
_START = b"\x00\x00\x01"
_H264_SETS, _H264_SLICES = (7, 8), (1, 2, 3, 4, 5)
_H264_UNUSED = (0, 2, 3, 4)
_H265_SETS = (32, 33, 34)
_H265_SLICES = range(32)


def is_byte_stream(data: bytes) -> bool:
    """Whether data has start codes (RTP, MPEG-TS), not length fields (MP4)."""
    return data[:4] == b"\x00\x00\x00\x01" or data[:3] == _START


def is_foreign(codec: VideoCodec, head: bytes) -> bool:
    """Whether an access unit (its first bytes, from a byte stream) cannot be of this codec: a camera that changes its codec goes on
    sending under the old description. H.264 decoders of the field use no data partitions (2 to 4) and no unit types above 21, which
    is how H.265 reads; the other way round there are reserved types."""
    at = head.find(_START)
    if at < 0 or at + 3 >= len(head):
        return False
    unit = head[at + 3]
    if codec is VideoCodec.H264:
        return unit & 0x80 != 0 or unit & 0x1F in _H264_UNUSED or unit & 0x1F > 21
    return unit & 0x80 != 0 or (unit >> 1) & 0x3F > 40


def parameter_sets(codec: VideoCodec, data: bytes) -> tuple[bytes, ...]:
    """The parameter sets before the first slice of a byte stream, without start codes, in order."""
    found = []
    at = data.find(_START)
    while at >= 0:
        begin = at + 3
        at = data.find(_START, begin)
        if begin >= len(data):
            break
        kind = data[begin] & 0x1F if codec is VideoCodec.H264 else (data[begin] >> 1) & 0x3F
        slices, sets = (_H264_SLICES, _H264_SETS) if codec is VideoCodec.H264 else (_H265_SLICES, _H265_SETS)
        if kind in slices:
            break
        if kind in sets and at >= 0:  # one that runs to the end of what was scanned may be incomplete
            found.append(data[begin:at].rstrip(b"\x00"))
    return tuple(found)


def extradata_sets(codec: VideoCodec, extradata: bytes) -> tuple[bytes, ...]:
    """The parameter sets of extradata in byte stream form."""
    return parameter_sets(codec, extradata + b"\x00\x00\x01")


def to_extradata(sets: tuple[bytes, ...]) -> bytes:
    """Extradata in byte stream form."""
    return b"".join(b"\x00\x00\x00\x01" + one for one in sets)


def complete(codec: VideoCodec, sets: tuple[bytes, ...]) -> bool:
    """Whether there is at least one of each kind."""
    if codec is VideoCodec.H264:
        return {one[0] & 0x1F for one in sets} >= set(_H264_SETS)
    return {(one[0] >> 1) & 0x3F for one in sets} >= set(_H265_SETS)


def digest(*parts: str | int | bytes | None) -> str:
    """32 hex digits that differ when any part differs."""
    hashed = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        hashed.update(len(data).to_bytes(4, "big") + data)
    return hashed.hexdigest()[:32]
