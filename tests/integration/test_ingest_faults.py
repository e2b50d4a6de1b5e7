"""What goes wrong at cameras and at the spool: a clear message each, nothing recorded wrongly, no other channel harmed."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections import deque
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from services.cli.demo.faults import (
    CloseConnections,
    PacketLoss,
    Refuse,
    Resume,
    SenderClockOffset,
    Silence,
    SwitchSource,
    TimestampJump,
)
from services.cli.demo.rtsp_auth import Credentials
from services.cli.demo.simulated import CameraSpec
from services.ingest.adapters.camera import Camera, Opening
from services.ingest.adapters.spool import Spool
from shared.config.channels import StreamConfig
from shared.config.services import MIB
from shared.domain.clock import SystemClock, seconds_to_ns
from shared.domain.errors import CameraError, VedetteError
from shared.domain.media import VideoCodec
from shared.messages.media import ChannelState, Discontinuity
from shared.obs.metrics import REGISTRY
from tests.support.clips import make_clip
from tests.support.clocks import SetClock
from tests.support.ingest import channel, gapless, ingest, play
from tests.support.rtsp import camera_simulator
from tests.support.small_disk import fill, mounted
from tests.support.waiting import until

pytestmark = pytest.mark.integration

FPS = 10
PASSWORD = "correct-horse"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4", seconds=2, fps=FPS)


async def test_bad_cameras_say_what_is_wrong_and_harm_no_other(tmp_path: Path, clip: Path) -> None:
    empty = tmp_path / "empty.mp4"
    empty.touch()
    spec = CameraSpec("/cam", clip, credentials=Credentials("admin", PASSWORD))
    with camera_simulator(spec, CameraSpec("/good", clip)) as camera, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens there, and nobody else gets it
        url = camera.url("/cam", with_credentials=False)
        bad = {
            "auth": (channel("auth", 2, url, user="admin", password="wrong-password"), "CameraAuthError", "password"),
            "path": (channel("path", 3, camera.url("/good").replace("/good", "/nothing")), "CameraNotFound", "no such stream"),
            "port": (channel("port", 4, f"rtsp://127.0.0.1:{closed.getsockname()[1]}/x"), "CameraUnreachable", "refused"),
            # Longer than a name may be, so that no name server is asked, which might take its time.
            "host": (channel("host", 5, f"rtsp://{'camera' * 11}.invalid/x"), "CameraUnreachable", "cannot be reached"),
            "file": (channel("file", 6, (tmp_path / "none.mp4").as_uri()), "CameraNotFound", "no such file"),
            "empty": (channel("empty", 7, empty.as_uri()), "CameraStreamError", "empty"),
        }
        good = channel("good", 1, camera.url("/good"))
        async with ingest(good, *(setup for setup, _, _ in bad.values())) as received:
            for name, (_, error, text) in bad.items():
                status = await received.failed(name)
                assert (name, status.error) == (name, error)
                assert text in status.reason
            await received.until(lambda r: len(r.of("good")) >= 3)
            assert gapless(received.of("good"))
            said = " ".join(status.reason for status in received.statuses)
            assert "wrong-password" not in said


async def test_a_silent_network_is_told_in_time() -> None:
    """A host that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"rtsp://127.0.0.1:{mute.getsockname()[1]}/x"
        async with ingest(channel("cam", 1, url), connect_timeout_s=1, read_timeout_s=30) as received:
            status = await received.failed()
            assert status.error == "CameraUnreachable"
            assert "in time" in status.reason


async def test_stop_ends_within_its_deadline_and_keeps_the_open_segment(tmp_path: Path, clip: Path) -> None:
    """Also when the camera is silent and libav hangs in a read."""

    def taken() -> float:
        return REGISTRY.get_sample_value("vedette_ingest_video_frames_total", {"channel": "cam", "stream": "main"}) or 0

    before = taken()
    with camera_simulator(CameraSpec("/cam", clip)) as camera:
        async with ingest(
            channel("cam", 1, camera.url("/cam")), data_dir=tmp_path, segment_s=30, read_timeout_s=60, take=False
        ) as received:
            await received.until(lambda r: len(r.frames) >= 5)
            camera.apply("/cam", Silence())
            sent = camera.stats("/cam").video_frames_sent
            await until(lambda: taken() - before >= sent - 3, "ingest has read what was sent")
    spool = Spool(tmp_path / "spool", 1 << 30)
    assert spool.open() == 1
    entry = spool.next_after("cam", -1)
    assert entry is not None
    segment = spool.load(entry)
    assert sent - 3 <= segment.frames <= sent
    assert play(segment.payload, tmp_path).pictures == segment.frames


async def test_a_camera_that_goes_away_comes_back(clip: Path) -> None:
    with camera_simulator(CameraSpec("/cam", clip)) as camera:
        async with ingest(channel("cam", 1, camera.url("/cam"))) as received:
            await received.until(lambda r: len(r.segments) >= 1)
            camera.apply("/cam", Refuse())
            camera.apply("/cam", CloseConnections())
            await received.failed()
            camera.apply("/cam", Resume())
            await received.until(lambda r: any(s.discontinuity is Discontinuity.RECONNECT for s in r.segments))
            back = next(s for s in received.segments if s.discontinuity is Discontinuity.RECONNECT)
            assert back.session != received.segments[0].session
            assert back.sequence == 0
            await received.until(lambda r: (s := r.state("cam")) is not None and s.state is ChannelState.ONLINE and s.reconnects == 1)


async def test_silence_longer_than_the_time_out_is_a_lost_connection(clip: Path) -> None:
    with camera_simulator(CameraSpec("/cam", clip)) as camera:
        setup = channel("cam", 1, camera.url("/cam"))
        async with ingest(setup, read_timeout_s=2, reconnect_min_s=5, reconnect_max_s=5) as received:
            await received.until(lambda r: len(r.segments) >= 1)
            camera.apply("/cam", Silence())
            await received.until(lambda r: any("nothing came" in s.reason for s in r.statuses))
            status = next(s for s in received.statuses if "nothing came" in s.reason)
            assert (status.state, status.error) == (ChannelState.OFFLINE, "CameraUnreachable")


async def test_lost_packets_are_not_recorded_as_broken_pictures(tmp_path: Path, clip: Path) -> None:
    with camera_simulator(CameraSpec("/cam", clip)) as camera:
        async with ingest(channel("cam", 1, camera.url("/cam"), transport="udp")) as received:
            await received.until(lambda r: len(r.segments) >= 1)
            camera.apply("/cam", PacketLoss(drop_share=0.05))
            await received.until(lambda r: sum(s.discontinuity is Discontinuity.LOSS for s in r.segments) >= 2)
            for segment in received.segments:
                seen = play(segment.payload, tmp_path)
                assert seen.keys[0]
                assert seen.pictures == segment.frames
            assert all(a.end_ns <= b.start_ns for a, b in pairwise(received.segments))


async def test_another_codec_under_way_begins_a_new_file(tmp_path: Path, clip: Path) -> None:
    other = make_clip(tmp_path / "other.mp4", video="h265", seconds=2, fps=FPS)
    with camera_simulator(CameraSpec("/cam", clip)) as camera:
        async with ingest(channel("cam", 1, camera.url("/cam"))) as received:
            await received.until(lambda r: len(r.segments) >= 1)
            camera.apply("/cam", SwitchSource(other))
            await received.until(lambda r: r.segments[-1].codec is VideoCodec.H265)
            first = next(s for s in received.segments if s.codec is VideoCodec.H265)
            assert first.discontinuity is Discontinuity.CODEC_CHANGE
            assert first.parameters != received.segments[0].parameters
            for segment in received.segments:
                assert play(segment.payload, tmp_path).codec == segment.codec.value


async def test_another_size_under_way_begins_a_new_file_without_losing_a_frame(tmp_path: Path, clip: Path) -> None:
    larger = make_clip(tmp_path / "larger.mp4", seconds=2, fps=FPS, size=(640, 480))
    with camera_simulator(CameraSpec("/cam", clip)) as camera:
        async with ingest(channel("cam", 1, camera.url("/cam"))) as received:
            await received.until(lambda r: len(r.segments) >= 1)
            camera.apply("/cam", SwitchSource(larger))
            await received.until(lambda r: r.segments[-1].width == 640)
            changed = next(s for s in received.segments if s.width == 640)
            assert changed.discontinuity is Discontinuity.CODEC_CHANGE
            assert changed.height == 480
            before = received.segments[received.segments.index(changed) - 1]
            assert before.end_ns == changed.start_ns
            assert play(changed.payload, tmp_path).pictures == changed.frames


@pytest.mark.parametrize("days", [1.0, -0.25])
async def test_a_timestamp_jump_costs_no_frame_and_makes_no_wrong_length(clip: Path, days: float) -> None:
    with camera_simulator(CameraSpec("/cam", clip)) as camera:
        async with ingest(channel("cam", 1, camera.url("/cam"))) as received:
            await received.until(lambda r: len(r.segments) >= 2)
            camera.apply("/cam", TimestampJump(days * 86_400))
            await received.until(lambda r: any(s.discontinuity is Discontinuity.TIMESTAMP_JUMP for s in r.segments))
            count = len(received.segments)
            await received.until(lambda r: len(r.segments) >= count + 2)
            for segment in received.segments:
                assert segment.duration_ns == pytest.approx(segment.frames * 1e9 / FPS, rel=0.05)
            assert all(a.end_ns == b.start_ns for a, b in pairwise(received.segments))
            assert sum(s.discontinuity is Discontinuity.TIMESTAMP_JUMP for s in received.segments) == 1
            await received.until(lambda r: any(e.source == "camera.timestamp_jump" for e in r.events))


async def test_a_camera_with_a_wrong_clock_is_recorded_by_ours(clip: Path) -> None:
    with camera_simulator(CameraSpec("/cam", clip, report_interval_s=0.5)) as camera:
        camera.apply("/cam", SenderClockOffset(-3600))
        started_ns = SystemClock().now_ns()
        async with ingest(channel("cam", 1, camera.url("/cam"))) as received:
            await received.until(lambda r: len(r.segments) >= 3)
            assert started_ns <= received.segments[0].start_ns <= SystemClock().now_ns()
            assert gapless(received.segments)


async def test_our_clock_being_set_begins_a_new_segment_and_is_told(clip: Path) -> None:
    clock = SetClock()
    async with ingest(channel("cam", 1, clip.as_uri()), channel("two", 2, clip.as_uri()), clock=clock) as received:
        await received.until(lambda r: len(r.of("cam")) >= 1)
        clock.set_by_ns = seconds_to_ns(-3600)
        await received.until(lambda r: {s.channel for s in r.segments if s.discontinuity is Discontinuity.CLOCK_JUMP} == {"cam", "two"})
        jumped = next(s for s in received.of("cam") if s.discontinuity is Discontinuity.CLOCK_JUMP)
        before = received.of("cam")[received.of("cam").index(jumped) - 1]
        assert before.end_ns - jumped.start_ns == pytest.approx(seconds_to_ns(3600), rel=0.01)
        assert all(s.end_ns - s.start_ns == pytest.approx(s.duration_ns, rel=0.011) for s in received.segments)
        await received.until(lambda r: any(e.source == "clock.jump" for e in r.events))
        assert len({e.event_id for e in received.events if e.source == "clock.jump"}) == 1


def make_noise(file: Path, *, seconds: int, gop: int = FPS, size: tuple[int, int] = (640, 360)) -> Path:
    """A clip that compresses badly: about 3 MB a second at 640x360."""
    random = np.random.default_rng(0)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "qp": "10"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.gop_size = gop
        for number in range(seconds * FPS):
            frame = av.VideoFrame.from_ndarray(random.integers(0, 256, (size[1], size[0]), np.uint8), format="gray")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file


async def test_a_group_of_pictures_longer_than_the_limit_is_cut_and_flagged(tmp_path: Path) -> None:
    clip = make_noise(tmp_path / "noise.mp4", seconds=4, gop=1000)
    limit = 1024 * 1024
    async with ingest(channel("cam", 1, clip.as_uri()), segment_max_bytes=limit, segment_s=2) as received:
        await received.until(lambda r: sum(s.frames for s in r.segments) >= 4 * FPS)
        segments = received.segments
        assert all(segment.size_bytes <= limit for segment in segments)
        assert segments[0].cut
        assert all(b.continues == a.cut for a, b in pairwise(segments))
        assert gapless(segments)
        assert segments[0].key_frames == 1


async def test_a_full_spool_refuses_the_newest_and_hands_the_rest_over_in_order(tmp_path: Path) -> None:
    clip = make_noise(tmp_path / "noise.mp4", seconds=2)
    limit = 16 * 1024 * 1024
    async with ingest(channel("cam", 1, clip.as_uri()), spool_max_bytes=limit, take=False) as received:
        await received.until(lambda r: any(e.source == "spool.full" for e in r.events))
        status = received.service.statuses()[0]
        assert status.lost_segments >= 1
        assert status.spool_bytes <= limit
        frames = len(received.frames)
        await received.until(lambda r: len(r.frames) > frames + 5)  # analysis goes on
        received.taking.set()
        await received.until(lambda r: any(s.discontinuity is Discontinuity.LOSS for s in r.segments))
        numbers = [segment.sequence for segment in received.segments]
        assert numbers == list(range(len(numbers)))
        assert all(a.end_ns <= b.start_ns for a, b in pairwise(received.segments))
        await received.until(lambda r: any(e.source == "spool.full" and e.end_ns is not None for e in r.events))


async def test_recording_begins_without_a_bus_and_is_handed_over_in_order_when_it_comes(tmp_path: Path, clip: Path) -> None:
    comes = asyncio.Event()
    setups = [channel("cam", 1, clip.as_uri()), channel("off", 2, clip.as_uri(), enabled=False)]
    async with ingest(*setups, data_dir=tmp_path, bus_comes=comes) as received:
        folder = tmp_path / "spool" / "cam"
        await until(lambda: len(list(folder.glob("*.mp4"))) >= 2, what="segments in the spool")
        assert received.service.health().ok
        assert not received.segments
        comes.set()
        await received.until(lambda r: len(r.segments) >= 4)
        assert gapless(received.segments)
        assert received.segments[0].sequence == 0
        await received.until(lambda r: (s := r.state("off")) is not None and s.state is ChannelState.DISABLED)
        await until(lambda: len(list(folder.glob("*.mp4"))) <= 2, what="an empty spool")


async def test_a_disk_under_what_is_kept_free_is_a_full_spool_until_there_is_room(tmp_path: Path, clip: Path) -> None:
    with mounted(tmp_path / "disk", 16) as disk:
        async with ingest(channel("cam", 1, clip.as_uri()), data_dir=disk, min_free_bytes=8 * MIB) as received:
            await received.until(lambda r: len(r.segments) >= 2)
            assert received.service.health().ok
            fill(disk / "filler", leave_bytes=7 * MIB)
            await received.until(lambda r: any(e.source == "spool.full" for e in r.events))
            told = next(e for e in received.events if e.source == "spool.full")
            assert "kept free" in told.message
            assert not received.service.health().ok
            assert received.service.statuses()[0].lost_segments >= 1
            found = os.statvfs(disk)
            assert found.f_bavail * found.f_frsize >= 7 * MIB
            (disk / "filler").unlink()
            await received.until(lambda r: any(s.discontinuity is Discontinuity.LOSS for s in r.segments))
            await received.until(lambda r: any(e.source == "spool.full" and e.end_ns is not None for e in r.events))
            assert received.service.health().ok
            numbers = [segment.sequence for segment in received.segments]
            assert numbers == list(range(len(numbers)))


async def test_a_waiting_file_of_another_version_is_set_aside_and_the_next_is_handed_over(tmp_path: Path, clip: Path) -> None:
    async with ingest(channel("cam", 1, clip.as_uri()), data_dir=tmp_path, take=False) as received:
        await received.until(lambda r: any(s.spool_segments >= 2 for s in r.statuses))
    oldest = min((tmp_path / "spool" / "cam").iterdir())
    oldest.write_bytes(oldest.read_bytes().replace(b'"frames":', b'"flames":'))
    before = REGISTRY.get_sample_value("vedette_ingest_spool_set_aside_total", {"channel": "cam"}) or 0
    async with ingest(data_dir=tmp_path) as received:
        await received.until(lambda r: len(r.segments) >= 2 and len(r.events) >= 2)
        assert [segment.sequence for segment in received.segments] == list(range(1, len(received.segments) + 1))
        assert {event.source for event in received.events} == {"spool.unreadable"}
        assert "frames" in received.events[0].message
        assert received.service.health().ok
        left = [oldest.with_suffix(".bad").name]
        await until(lambda: [path.name for path in (tmp_path / "spool" / "cam").iterdir()] == left, "all else is handed over")
    assert REGISTRY.get_sample_value("vedette_ingest_spool_set_aside_total", {"channel": "cam"}) == before + 1


async def test_a_spool_that_cannot_be_made_stops_the_start_with_a_clear_message(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "spool").write_text("a file where the folder should be")
    with pytest.raises(VedetteError, match="spool"):
        async with ingest(channel("cam", 1, clip.as_uri()), data_dir=tmp_path):
            pass


async def test_an_unwritable_channel_folder_is_told_and_harms_no_other(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "cam").write_text("a file where the folder should be")
    async with ingest(channel("cam", 1, clip.as_uri()), channel("two", 2, clip.as_uri()), data_dir=tmp_path) as received:
        await received.until(lambda r: any(e.source == "spool.error" and e.channel == "cam" for e in r.events))
        await received.until(lambda r: len(r.of("two")) >= 2)
        await received.until(lambda r: sum(f.channel == "cam" for f in r.frames) >= 5)
        (tmp_path / "spool" / "cam").unlink()
        await received.until(lambda r: len(r.of("cam")) >= 1)


async def test_what_waits_is_handed_over_after_a_restart(tmp_path: Path, clip: Path) -> None:
    setup = channel("cam", 1, clip.as_uri())
    async with ingest(setup, data_dir=tmp_path, take=False) as received:
        await received.until(lambda r: any(s.spool_segments >= 2 for s in r.statuses))
    async with ingest(data_dir=tmp_path) as received:  # the channel is not even configured any more
        await received.until(lambda r: len(r.segments) >= 3)
        assert gapless(received.segments)


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_a_stream_that_ends_at_once_has_ended_and_no_more(tmp_path: Path, frames: int) -> None:
    """Its first frames have no decoding time yet."""
    clip = make_clip(tmp_path / "clip.mp4", seconds=frames / 10, fps=10)
    with camera_simulator(CameraSpec("/cam", clip, loop=False)) as simulated:
        config = StreamConfig(url=simulated.url("/cam", with_credentials=False))
        camera = Camera(Opening(config, False, 60, 60, SystemClock(), threading.Event()))
        try:
            with pytest.raises(CameraError, match="ended"):
                deque(camera.packets(), maxlen=0)
        finally:
            camera.close()
