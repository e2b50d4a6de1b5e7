"""Fragmented MP4 made by hand: whole in its boxes, with nothing in its frames."""

from __future__ import annotations


def box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def fragment(frames: int) -> bytes:
    """A moof (one video track, a key frame first, 3600 ticks each) and its mdat."""
    tfhd = box(b"tfhd", (0x020020).to_bytes(4, "big") + (1).to_bytes(4, "big") + (0x01010000).to_bytes(4, "big"))
    samples = b"".join((3600).to_bytes(4, "big") + (10).to_bytes(4, "big") for _ in range(frames))
    trun = box(b"trun", (0x000305).to_bytes(4, "big") + frames.to_bytes(4, "big") + bytes(4) + (0x02000000).to_bytes(4, "big") + samples)
    return box(b"moof", box(b"mfhd", bytes(8)) + box(b"traf", tfhd + trun)) + box(b"mdat", bytes(10 * frames))


HEAD = box(b"ftyp", b"iso5") + box(b"moov", bytes(20))
