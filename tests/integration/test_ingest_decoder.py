"""Pictures out of a stream at the least cost."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from services.ingest.adapters.camera import TICK, Camera, Opening
from services.ingest.adapters.decoder import Decoder
from services.ingest.core.sampler import Sampling
from shared.config.channels import StreamConfig
from shared.domain.clock import SystemClock
from tests.support.clips import make_clip

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("video", ["h264", "h265", "mjpeg"])
def test_key_frames_become_pictures_at_once(tmp_path: Path, video: str) -> None:
    """Also where frames are reordered, a picture does not wait for the frames behind it."""
    clip = make_clip(tmp_path / "clip.mp4", video=video, seconds=4, fps=10, gop=10, b_frames=2 if video == "h264" else 0)
    stop = threading.Event()
    camera = Camera(Opening(StreamConfig(url=clip.as_uri()), False, 5, 5, SystemClock(), stop))
    try:
        decoder = Decoder(camera, Sampling(1, 160, 90, keys_only=True))
        fed, made = [], []
        for number, packet in enumerate(camera.packets()):
            if number >= 35:
                break
            packet.rescale_ts(TICK)
            assert packet.pts is not None
            pictures = list(decoder.feed(packet, packet.pts))
            if pictures:
                fed.append(packet.pts)
                made += [(at_ns, picture.width, picture.height) for at_ns, _, _, picture in pictures]
        assert [at_ns for at_ns, _, _ in made] == [pts * 100_000 // 9 for pts in fed]
        assert [round((pts - fed[0]) / 90_000) for pts in fed] == [0, 1, 2, 3]
        assert {(width, height) for _, width, height in made} == {(160, 90)}
    finally:
        stop.set()
        camera.close()
