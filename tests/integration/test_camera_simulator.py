"""The simulator against independent clients: ffprobe (Debian's FFmpeg), PyAV (its own FFmpeg), and raw RTSP."""

import asyncio
import contextlib
import shutil
import ssl
import struct
import subprocess
import sys
from pathlib import Path

import av
import pytest

from services.cli.demo.camera import CameraSimulator
from services.cli.demo.playback import SentFrame
from services.cli.demo.rtsp_auth import AuthScheme, Credentials
from services.cli.demo.simulated import CameraSpec
from shared.domain.clock import SystemClock
from tests.support.clips import make_clip
from tests.support.rtsp import GST_SERVER, camera_simulator, gst_rtsp_server, self_signed_certificate, server_tls

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs ffprobe: apt-get install ffmpeg"),
]
CLIPS = {"h264": ("aac", "mp4"), "h265": ("pcmu", "mov"), "mjpeg": ("pcma", "mov")}
FFMPEG_NAMES = {"h265": "hevc", "pcmu": "pcm_mulaw", "pcma": "pcm_alaw"}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    return {video: make_clip(folder / f"{video}.{end}", video=video, audio=audio) for video, (audio, end) in CLIPS.items()}


def probe(url: str, transport: str = "tcp") -> tuple[int, dict[str, int], str]:
    """Exit status, packets per codec as ffprobe counts them, and its errors."""
    wanted = ["-count_packets", "-show_entries", "stream=codec_name,nb_read_packets", "-of", "csv=p=0"]
    command = ["ffprobe", "-v", "error", "-rtsp_transport", transport, *wanted, url]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    counts = dict(line.split(",")[:2] for line in result.stdout.split())
    return result.returncode, {codec: int(count) for codec, count in counts.items()}, result.stderr


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("video", list(CLIPS))
def test_every_frame_that_was_sent_arrives(clips: dict[str, Path], video: str, transport: str) -> None:
    with camera_simulator(CameraSpec("/cam1/sub", clips[video], loop=False, speed=2.0)) as simulator:
        status, counts, errors = probe(simulator.url("/cam1/sub"), transport)
        (client,) = simulator.wait_until("/cam1/sub", lambda stats: stats.playing == 0).clients
    audio = CLIPS[video][0]
    assert (status, errors) == (0, "")
    assert counts == {FFMPEG_NAMES.get(video, video): 20, FFMPEG_NAMES.get(audio, audio): client.audio_frames_sent}
    assert (client.video_frames_sent, client.transport) == (20, transport)


@pytest.mark.parametrize("scheme", list(AuthScheme))
def test_only_the_right_password_gets_the_stream(clips: dict[str, Path], scheme: AuthScheme) -> None:
    spec = CameraSpec("/cam1", clips["h264"], loop=False, speed=4.0, credentials=Credentials("admin", "p@ss w:rd/", scheme))
    with camera_simulator(spec) as simulator:
        assert probe(simulator.url("/cam1"))[:2] == (0, {"h264": 20, "aac": 32})
        for account in ("", "admin:wrong@", "root:p%40ss%20w%3Ard%2F@"):
            status, _, errors = probe(f"rtsp://{account}127.0.0.1:{simulator.port}/cam1")
            assert status != 0
            assert "401" in errors
        assert len(simulator.stats("/cam1").clients) == 1


def test_an_unknown_path_is_not_found(clips: dict[str, Path]) -> None:
    with camera_simulator(CameraSpec("/cam1", clips["h264"])) as simulator:
        status, _, errors = probe(f"rtsp://127.0.0.1:{simulator.port}/cam2")
    assert status != 0
    assert "404" in errors


def test_rtsps(clips: dict[str, Path], tmp_path: Path) -> None:
    tls = server_tls(self_signed_certificate(tmp_path))
    with camera_simulator(CameraSpec("/cam1", clips["h264"], loop=False, speed=4.0), tls=tls) as simulator:
        assert simulator.url("/cam1").startswith("rtsps://")
        assert probe(simulator.url("/cam1"))[:2] == (0, {"h264": 20, "aac": 32})
        assert simulator.stats("/cam1").clients[0].transport == "tls"


def test_capture_times_reach_the_client(clips: dict[str, Path]) -> None:
    sent: list[SentFrame] = []
    spec = CameraSpec("/cam1", clips["h264"], loop=False, on_frame=sent.append)
    with camera_simulator(spec) as simulator, av.open(simulator.url("/cam1"), options={"rtsp_transport": "tcp"}) as stream:
        packets = [packet for packet in stream.demux(stream.streams.video[0]) if packet.size]
    # AVProducerReferenceTime: microseconds of the wall clock, which FFmpeg works out from the sender reports
    learnt_us = [struct.unpack("<q", bytes(packet.get_sidedata("prft"))[:8])[0] for packet in packets]
    assert len(learnt_us) == 20
    assert all(abs(us - frame.capture_ns // 1000) <= 1 for us, frame in zip(learnt_us, sent, strict=True))


def test_a_looped_file_goes_on_without_a_seam(clips: dict[str, Path]) -> None:
    with (
        camera_simulator(CameraSpec("/cam1", clips["h264"], speed=8.0)) as simulator,
        av.open(simulator.url("/cam1"), options={"rtsp_transport": "tcp"}) as stream,
    ):
        times = []
        for packet in stream.demux(stream.streams.video[0]):
            times.append(packet.dts)
            if len(times) == 65:
                break
    assert times[1:] == [9000 * number for number in range(1, 65)]  # FFmpeg leaves the first without a time


def test_live_clients_share_one_position(clips: dict[str, Path]) -> None:
    sent: list[SentFrame] = []
    spec = CameraSpec("/cam1", clips["h264"], live=True, speed=4.0, on_frame=sent.append)
    with camera_simulator(spec) as simulator:
        url = simulator.url("/cam1")
        first = av.open(url, options={"rtsp_transport": "tcp"})
        simulator.wait_until("/cam1", lambda stats: stats.video_frames_sent >= 12)
        second = av.open(url, options={"rtsp_transport": "tcp"})
        simulator.wait_until("/cam1", lambda stats: len(stats.clients) == 2 and stats.clients[1].video_frames_sent >= 12)
        first.close()
        second.close()
    by_client = {client: [frame for frame in sent if frame.client == client] for client in (1, 2)}
    assert by_client[2][0].key
    common = {frame.media_ns: frame.capture_ns for frame in by_client[1]}
    shared = [frame for frame in by_client[2] if frame.media_ns in common]
    assert shared
    assert all(frame.capture_ns == common[frame.media_ns] for frame in shared)


def test_live_main_and_sub_stream_show_the_same_moment(clips: dict[str, Path]) -> None:
    main: list[SentFrame] = []
    sub: list[SentFrame] = []
    with camera_simulator(CameraSpec("/cam1", clips["h264"], live=True, speed=4.0, on_frame=main.append)) as simulator:
        simulator.add(CameraSpec("/cam1/sub", clips["mjpeg"], live=True, speed=4.0, on_frame=sub.append))
        for path in ("/cam1", "/cam1/sub"):
            with av.open(simulator.url(path), options={"rtsp_transport": "tcp"}):
                simulator.wait_until(path, lambda stats: stats.video_frames_sent >= 1)
    assert {frame.capture_ns - frame.media_ns for frame in main} == {frame.capture_ns - frame.media_ns for frame in sub}


async def test_a_udp_session_that_is_not_kept_alive_ends(clips: dict[str, Path]) -> None:
    async with CameraSimulator(SystemClock()) as simulator:
        await simulator.add(CameraSpec("/cam1", clips["h264"], session_timeout_s=1))
        reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
        own_ports = [transport.get_extra_info("sockname")[1] for transport in simulator.udp]
        transport = f"RTP/AVP;unicast;client_port={own_ports[0]}-{own_ports[1]}"  # nobody else listens there
        writer.write(f"SETUP rtsp://h/cam1/trackID=0 RTSP/1.0\r\nCSeq: 1\r\nTransport: {transport}\r\n\r\n".encode())
        answer = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)).decode()
        session = answer.partition("Session: ")[2].partition(";")[0]
        writer.write(f"PLAY rtsp://h/cam1 RTSP/1.0\r\nCSeq: 2\r\nSession: {session}\r\n\r\n".encode())
        await asyncio.wait_for(reader.read(), 60)  # the answer, then the end
        assert simulator.stats("/cam1").playing == 0
        assert simulator.stats("/cam1").video_frames_sent > 0
        await hang_up(writer)


def test_a_machine_without_gstreamer_is_told_what_to_install() -> None:
    # the project's own interpreter has no `gi`
    result = subprocess.run([sys.executable, str(GST_SERVER), "{}"], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 3
    assert "apt-get install python3-gi" in result.stderr


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """And wait for the socket to be closed, so that nothing warns of it later."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _ask(port: int, text: str, tls: ssl.SSLContext | None = None) -> list[str]:
    """Status lines that the server gives to raw bytes before it hangs up or falls silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    writer.write(text.replace("\n", "\r\n").encode())
    writer.write(b"STOP\r\n\r\n")  # no RTSP: answered by 400 and a hang-up, so that the read has an end
    data = await asyncio.wait_for(reader.read(), 60)
    await hang_up(writer)
    return [line.split(" ")[1] for line in data.decode("utf-8", "replace").split("\r\n") if line.startswith("RTSP/1.0")][:-1]


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("OPTIONS * RTSP/1.0\nCSeq: 1\n\n", "200"),
        ("RECORD rtsp://h/cam1 RTSP/1.0\nCSeq: 1\n\n", "405"),
        ("PLAY rtsp://h/cam1 RTSP/1.0\nCSeq: 1\n\n", "454"),
        ("TEARDOWN rtsp://h/cam1 RTSP/1.0\nCSeq: 1\nSession: x\n\n", "454"),
        ("GET_PARAMETER rtsp://h/cam1 RTSP/1.0\nCSeq: 1\n\n", "200"),
        ("SETUP rtsp://h/cam1 RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP/TCP\n\n", "459"),
        ("SETUP rtsp://h/cam1/trackID=7 RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP/TCP\n\n", "404"),
        ("SETUP rtsp://h/cam1/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP;multicast\n\n", "461"),
        ("SETUP rtsp://h/cam1/trackID=0 RTSP/1.0\nCSeq: 1\n\n", "461"),
        ("SETUP rtsp://h/cam1/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP/TCP;interleaved=0-1\n\n", "200"),
    ],
)
async def test_answers_to_raw_requests(clips: dict[str, Path], request_text: str, status: str) -> None:
    async with CameraSimulator(SystemClock()) as simulator:
        await simulator.add(CameraSpec("/cam1", clips["h264"]))
        assert await _ask(simulator.port, request_text) == [status]


async def test_no_plain_udp_beside_tls(clips: dict[str, Path], tmp_path: Path) -> None:
    certificate = self_signed_certificate(tmp_path)
    async with CameraSimulator(SystemClock(), tls=server_tls(certificate)) as simulator:
        await simulator.add(CameraSpec("/cam1", clips["h264"]))
        setup = "SETUP rtsps://h/cam1/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP;unicast;client_port=5000-5001\n\n"
        client = ssl.create_default_context(cafile=certificate[0])
        assert await _ask(simulator.port, setup, client) == ["461"]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_the_independent_server_serves_the_same_files(clips: dict[str, Path], transport: str) -> None:
    mounts = {f"/{name}": file for name, file in clips.items()}
    with gst_rtsp_server(mounts, user="admin", password="secret word") as server:
        for video in CLIPS:
            status, counts, _ = probe(server.url(f"/{video}"), transport)
            assert (status, counts[FFMPEG_NAMES.get(video, video)]) == (0, 20)
        assert "401" in probe(server.url("/h264", with_credentials=False))[2]


def test_the_independent_server_over_tls(clips: dict[str, Path], tmp_path: Path) -> None:
    with gst_rtsp_server({"/h264": clips["h264"]}, certificate=self_signed_certificate(tmp_path)) as server:
        assert probe(server.url("/h264"))[1]["h264"] == 20
