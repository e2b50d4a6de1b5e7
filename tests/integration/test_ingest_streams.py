"""Ingest over real RTSP, HTTP and files: every codec and transport is recorded without a gap."""

from __future__ import annotations

import hashlib
import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from services.cli.demo.simulated import CameraSpec
from services.ingest.probe import probe
from shared.domain.media import VideoCodec
from shared.messages.media import Discontinuity
from tests.support.certificates import make_authority
from tests.support.clips import make_clip
from tests.support.ingest import Received, channel, gapless, ingest, play
from tests.support.rtsp import camera_simulator, gst_rtsp_server, self_signed_certificate, server_tls

pytestmark = pytest.mark.integration

SECONDS, FPS = 4.0, 10


def check_whole(received: Received, frames: int, codec: VideoCodec, tmp_path: Path) -> None:
    """All frames are there once, times touch, and each payload plays."""
    segments = received.segments
    assert sum(segment.frames for segment in segments) == frames
    assert segments[0].discontinuity is Discontinuity.START
    assert gapless(segments)
    for segment in segments:
        assert segment.codec is codec
        assert segment.size_bytes == len(segment.payload)
        assert segment.sha256 == hashlib.sha256(segment.payload).hexdigest()
        assert segment.duration_ns == pytest.approx(segment.frames * 1e9 / FPS, abs=1e9 / FPS / 10)
        assert segment.end_ns - segment.start_ns == pytest.approx(segment.duration_ns, rel=0.011)
        seen = play(segment.payload, tmp_path)
        assert seen.pictures == len(seen.video_dts) == segment.frames
        assert seen.video_dts[0] == 0
        assert seen.keys[0]
        assert sum(seen.keys) == segment.key_frames
        assert seen.time_base == pytest.approx(1 / 90_000)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize(("video", "codec"), [("h264", VideoCodec.H264), ("h265", VideoCodec.H265), ("mjpeg", VideoCodec.MJPEG)])
async def test_every_codec_over_tcp_and_udp(tmp_path: Path, video: str, codec: VideoCodec, transport: str) -> None:
    clip = make_clip(tmp_path / "clip.mp4", video=video, seconds=SECONDS, fps=FPS)
    with camera_simulator(CameraSpec("/cam", clip, loop=False)) as camera:
        url = camera.url("/cam", with_credentials=False)
        async with ingest(
            channel("cam", 1, url, transport=transport), reconnect_min_s=60, reconnect_max_s=60, read_timeout_s=20
        ) as received:
            await received.failed()  # the file's one pass is over
            await received.until(lambda r: sum(segment.frames for segment in r.segments) >= SECONDS * FPS)
            check_whole(received, round(SECONDS * FPS), codec, tmp_path)
            tags = {VideoCodec.H264: "avc1", VideoCodec.H265: "hvc1", VideoCodec.MJPEG: "mp4v"}
            assert play(received.segments[0].payload, tmp_path).tag == tags[codec]


@pytest.mark.parametrize(("audio", "mode", "recorded"), [
    ("aac", "transcode", "aac"), ("pcmu", "transcode", "aac"), ("pcma", "transcode", "aac"), ("pcmu", "copy", None), ("aac", "off", None),
])  # fmt: skip
async def test_sound(tmp_path: Path, audio: str, mode: str, recorded: str | None) -> None:
    clip = make_clip(tmp_path / "clip.mov", audio=audio, seconds=SECONDS, fps=FPS)
    with camera_simulator(CameraSpec("/cam", clip, loop=False)) as camera:
        setup = channel("cam", 1, camera.url("/cam"), audio=mode)
        async with ingest(setup, reconnect_min_s=60, reconnect_max_s=60) as received:
            await received.failed()
            await received.until(lambda r: sum(segment.frames for segment in r.segments) >= SECONDS * FPS)
            check_whole(received, round(SECONDS * FPS), VideoCodec.H264, tmp_path)
            seen = [play(segment.payload, tmp_path) for segment in received.segments]
            assert {one.audio_codec for one in seen} == {recorded}
            if recorded:
                assert sum(one.audio_seconds for one in seen) == pytest.approx(SECONDS, abs=0.4)
                assert min(one.audio_seconds for one in seen) > 0.5


@pytest.mark.parametrize("setting", ["default", "verify_tls", "ca_file"])
async def test_rtsps(tmp_path: Path, setting: str) -> None:
    """A self-signed certificate is refused unless the channel names it, or says that any will do."""
    clip = make_clip(tmp_path / "clip.mp4", seconds=SECONDS, fps=FPS)
    certificate = self_signed_certificate(tmp_path)
    with camera_simulator(CameraSpec("/cam", clip, loop=False), tls=server_tls(certificate)) as camera:
        settings: dict[str, dict[str, Any]] = {"verify_tls": {"verify_tls": False}, "ca_file": {"ca_file": str(certificate[0])}}
        setup = channel("cam", 1, camera.url("/cam"), **settings.get(setting, {}))
        async with ingest(setup, reconnect_min_s=60, reconnect_max_s=60) as received:
            status = await received.failed()
            if setting == "default":
                assert status.error == "CameraUnreachable"
                assert "certificate is refused: self-signed certificate" in status.reason
                assert not received.segments
            else:
                await received.until(lambda r: sum(segment.frames for segment in r.segments) >= SECONDS * FPS)
                check_whole(received, round(SECONDS * FPS), VideoCodec.H264, tmp_path)


@pytest.mark.parametrize("scheme", ["rtsps", "https"])
@pytest.mark.parametrize("place", ["stream", "site"])
async def test_a_certificate_of_an_own_authority(tmp_path: Path, scheme: str, place: str) -> None:
    """Accepted when the authority is named, of the stream or for all; refused without it, and for another name, each with the reason."""
    authority = make_authority(tmp_path)
    kind = {"rtsps": ".mp4", "https": ".ts"}[scheme]
    clip = make_clip(tmp_path / f"clip{kind}", seconds=SECONDS, fps=FPS)
    with tls_server(clip, authority.certificate("IP:127.0.0.1")) as good, tls_server(clip, authority.certificate("DNS:elsewhere")) as other:
        named: dict[str, Any] = {"ca_file": str(authority.file)}
        own, site = (named, {}) if place == "stream" else ({}, named)
        setups = [channel("good", 1, good, **own), channel("other", 2, other, **own)]
        async with ingest(*setups, reconnect_min_s=60, reconnect_max_s=60, **site) as received:
            await received.until(lambda r: len(r.of("good")) >= 2)
            status = await received.failed("other")
            assert status.error == "CameraUnreachable"
            assert "certificate is refused: IP address mismatch" in status.reason
            assert not received.of("other")
        async with ingest(channel("good", 1, good), reconnect_min_s=60, reconnect_max_s=60) as received:
            status = await received.failed("good")
            assert status.error == "CameraUnreachable"
            assert "certificate is refused: unable to get local issuer certificate" in status.reason
            assert "ca_file" in status.reason
            assert not received.segments


@contextmanager
def tls_server(clip: Path, certificate: tuple[Path, Path]) -> Iterator[str]:
    """The URL of a clip: RTSPS of an MP4 file, HTTPS of MPEG-TS."""
    if clip.suffix == ".ts":
        with http_server(clip.read_bytes(), "video/mp2t", tls=server_tls(certificate)) as url:
            yield url
    else:
        with camera_simulator(CameraSpec("/cam", clip), tls=server_tls(certificate)) as camera:
            yield camera.url("/cam")


async def test_an_independent_server_with_a_digest_account(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", audio="aac", seconds=SECONDS, fps=FPS)
    with gst_rtsp_server({"/cam": clip}, user="admin", password="p@ss/w:rd") as server:
        setup = channel("cam", 1, server.url("/cam", with_credentials=False), user="admin", password="p@ss/w:rd")
        async with ingest(setup, reconnect_min_s=60, reconnect_max_s=60) as received:
            await received.failed()
            await received.until(lambda r: sum(segment.frames for segment in r.segments) >= SECONDS * FPS)
            check_whole(received, round(SECONDS * FPS), VideoCodec.H264, tmp_path)


@contextmanager
def http_server(body: bytes, kind: str, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serves one body at any path, a camera's kind of HTTP stream."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *args: Any) -> None:
            """A client that refuses the certificate leaves; nobody needs a traceback."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}/stream"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_mpeg_ts_over_http(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.ts", audio="aac", seconds=SECONDS, fps=FPS)
    with http_server(clip.read_bytes(), "video/mp2t") as url:
        async with ingest(channel("cam", 1, url), reconnect_min_s=60, reconnect_max_s=60) as received:
            await received.failed()
            await received.until(lambda r: sum(segment.frames for segment in r.segments) >= SECONDS * FPS)
            segments = received.segments
            assert gapless(segments)
            assert sum(play(segment.payload, tmp_path).pictures for segment in segments) == SECONDS * FPS
            assert {play(segment.payload, tmp_path).audio_codec for segment in segments} == {"aac"}


async def test_multipart_jpeg_over_http(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mjpeg", video="mjpeg", seconds=1, fps=FPS)
    pictures = [b"\xff\xd8" + part for part in clip.read_bytes().split(b"\xff\xd8")[1:]]
    parts = [b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(p), p) for p in pictures]
    with http_server(b"".join(parts), "multipart/x-mixed-replace;boundary=frame") as url:
        async with ingest(channel("cam", 1, url), reconnect_min_s=60, reconnect_max_s=60) as received:
            await received.failed()
            await received.until(lambda r: sum(segment.frames for segment in r.segments) >= FPS)
            assert {segment.codec for segment in received.segments} == {VideoCodec.MJPEG}
            assert sum(play(segment.payload, tmp_path).pictures for segment in received.segments) == FPS


async def test_a_file_is_looped_in_real_time(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=2, fps=FPS)
    async with ingest(channel("cam", 1, clip.as_uri())) as received:
        await received.until(lambda r: len(r.segments) >= 4)
        assert gapless(received.segments)
        assert all(segment.frames == FPS for segment in received.segments[:4])


async def test_sampled_frames_carry_capture_times(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=2, fps=FPS, size=(1280, 720))
    async with ingest(channel("cam", 1, clip.as_uri())) as received:
        await received.until(lambda r: len(r.frames) >= 12 and len(inside(r)) >= 5)
        frames = received.frames
        steps = [(b.capture_ns - a.capture_ns) / 2e8 for a, b in pairwise(frames)]
        # On the grid of five a second, but for the very first; a machine that is late leaves some out, and counts them.
        assert steps[1:] == pytest.approx([max(1, round(step)) for step in steps[1:]], rel=0.02)
        assert sum(round(step) - 1 for step in steps[1:]) <= received.service.statuses()[0].dropped_frames
        assert {(frame.picture.width, frame.picture.height) for frame in frames} == {(640, 360)}
        assert {(frame.source_width, frame.source_height) for frame in frames} == {(1280, 720)}
        pictures = inside(received)  # all on the segments' grid of pictures
        assert pictures == pytest.approx([round(picture) for picture in pictures], abs=0.01)


def inside(received: Received) -> list[float]:
    """Where the frames lie that belong to a segment that was received, in pictures from its start."""
    return [
        (frame.capture_ns - segment.start_ns) * FPS / 1e9
        for segment in received.segments
        for frame in received.frames
        if segment.start_ns <= frame.capture_ns < segment.end_ns
    ]


async def test_the_sub_stream_is_analysed_and_the_main_one_recorded(tmp_path: Path) -> None:
    main = make_clip(tmp_path / "main.mp4", seconds=2, fps=FPS, size=(1280, 720))
    sub = make_clip(tmp_path / "sub.mp4", seconds=2, fps=FPS, size=(320, 180))
    async with ingest(channel("cam", 1, main.as_uri(), sub={"url": sub.as_uri()})) as received:
        await received.until(lambda r: len(r.frames) >= 5 and len(r.segments) >= 2)
        assert {(frame.source_width, frame.source_height) for frame in received.frames} == {(320, 180)}
        assert {(segment.width, segment.stream.value) for segment in received.segments} == {(1280, "main")}


@pytest.mark.parametrize("transport", ["rtsp", "file"])
async def test_a_channel_without_analysis_shows_its_key_frames_live(tmp_path: Path, transport: str) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=4, fps=FPS, size=(1280, 720))
    quiet = {"analysis": {"enabled": False}}
    with camera_simulator(CameraSpec("/cam", clip)) as camera:
        url = camera.url("/cam") if transport == "rtsp" else clip.as_uri()
        async with ingest(channel("cam", 1, url, **quiet)) as received:
            await received.until(lambda r: len(r.frames) >= 4 and bool(r.segments) and r.segments[-1].start_ns >= r.frames[2].capture_ns)
            assert gapless(received.segments)
            frames = received.frames
            starts = {segment.start_ns for segment in received.segments}
            assert {frame.capture_ns for frame in frames[:3]} <= starts
            assert {(frame.picture.width, frame.picture.height) for frame in frames} == {(640, 360)}


async def test_live_pictures_of_channels_without_analysis_can_be_switched_off(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=2, fps=FPS)
    async with ingest(channel("cam", 1, clip.as_uri(), analysis={"enabled": False}), live_fps=0) as received:
        await received.until(lambda r: len(r.segments) >= 3)
        assert not received.frames


async def test_probe_tells_what_a_camera_sends(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", audio="aac", seconds=3, fps=FPS)
    with camera_simulator(CameraSpec("/cam", clip, speed=4.0)) as camera:  # so that it has sent enough also when it is late
        report = probe(camera.url("/cam"), seconds=2.5)
    assert (report.codec, report.width, report.height, report.audio_codec) == ("h264", 320, 180, "aac")
    assert report.fps == pytest.approx(FPS, rel=0.1)
    assert report.gop_frames == 10
    assert report.sender_reports
    assert report.bitrate_bps > 10_000
