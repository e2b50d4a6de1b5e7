"""A session with sound whose segments cannot all be written."""

from __future__ import annotations

import threading
from itertools import pairwise
from pathlib import Path

import pytest

from services.ingest.adapters.audio import audio_track
from services.ingest.adapters.camera import Camera, Opening
from services.ingest.adapters.recorder import Recorder
from services.ingest.adapters.segment_writer import Identity, Notices, Tally
from services.ingest.adapters.spool import Spool
from services.ingest.core.segmenter import Limits
from shared.config.channels import AudioMode, StreamConfig
from shared.domain.clock import SystemClock
from shared.domain.errors import VedetteError
from shared.domain.media import StreamKind
from shared.messages import SegmentMessage
from shared.messages.media import Discontinuity
from tests.support.clips import make_clip
from tests.support.ingest import play

pytestmark = pytest.mark.integration

SECONDS, FPS = 5, 10


def record(clip: Path, spool: Spool, folder: Path, *, gone: int, tally: Tally, troubles: list[VedetteError]) -> None:
    """One pass of a clip through a recorder. Segment `gone` vanishes from the disk while it waits for late sound."""
    clock, stop = SystemClock(), threading.Event()
    camera = Camera(Opening(StreamConfig(url=clip.as_uri()), True, 5, 5, clock, stop))
    recorder = Recorder(
        Identity("device", "cam", 1, StreamKind.MAIN, "session"), camera, audio_track(camera.audio, AudioMode.TRANSCODE),
        spool=spool, limits=Limits(1, 8 << 20), clock=clock, tally=tally, notices=Notices(lambda *_: None, troubles.append, lambda: None),
        first=Discontinuity.START, last_parameters=None,
    )  # fmt: skip
    frames = 0
    try:
        for packet in camera.packets():
            if packet.stream_index != camera.video.index:
                recorder.audio(packet)
                continue
            if frames == SECONDS * FPS:
                break
            frames += 1
            recorder.video(packet, clock.monotonic_ns(), broken=False)
            waiting = folder / f"{gone:016d}.part"
            if (folder / f"{gone + 1:016d}.part").exists() and waiting.exists():
                waiting.unlink()
        recorder.finish()
    finally:
        stop.set()
        camera.close()


def test_a_segment_given_up_at_a_cut_costs_only_itself(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", audio="aac", seconds=SECONDS, fps=FPS, gop=FPS)
    spool = Spool(tmp_path / "spool", 1 << 30)
    spool.open()
    tally, troubles = Tally(), list[VedetteError]()
    record(clip, spool, tmp_path / "spool" / "cam", gone=1, tally=tally, troubles=troubles)
    segments: list[SegmentMessage] = []
    number = -1
    while (entry := spool.next_after("cam", number)) is not None:
        segments.append(spool.load(entry))
        number = entry.number
    assert [segment.sequence for segment in segments] == list(range(len(segments)))
    assert len({segment.segment_id for segment in segments}) == len(segments)
    assert sum(segment.frames for segment in segments) == (SECONDS - 1) * FPS
    assert [segment.discontinuity.value for segment in segments] == ["start", "loss", "none", "none"]
    assert segments[0].end_ns < segments[1].start_ns
    assert all(a.end_ns == b.start_ns for a, b in pairwise(segments[1:]))
    assert (tally.segments, tally.lost_segments, len(troubles)) == (4, 1, 1)
    assert spool.used_bytes == spool.waiting("cam")[1]
    for segment in segments:
        seen = play(segment.payload, tmp_path)
        assert (seen.pictures, seen.audio_codec) == (segment.frames, "aac")
