"""Each fault of the simulator, as a client meets it."""

import socket
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import av
import av.error
import pytest
from av.container import InputContainer

from services.cli.demo.faults import (
    CloseConnections,
    PacketLoss,
    Refuse,
    Resume,
    ScriptedFault,
    SenderClockOffset,
    Silence,
    SwitchSource,
    TimestampJump,
)
from services.cli.demo.simulated import CameraSpec
from shared.domain.errors import CameraStreamError
from tests.support.clips import make_clip
from tests.support.rtsp import SimulatorThread, camera_simulator

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "main.mp4", audio="aac")


@pytest.fixture
def camera(clip: Path) -> Iterator[SimulatorThread]:
    with camera_simulator(CameraSpec("/cam1", clip, speed=4.0, report_interval_s=1.0)) as simulator:
        yield simulator


def _open(simulator: SimulatorThread) -> InputContainer:
    return av.open(simulator.url("/cam1"), options={"rtsp_transport": "tcp"}, timeout=60)


def _times(stream: InputContainer, count: int) -> list[int]:
    """DTS of the next video packets, in ticks of 90 kHz."""
    found: list[int] = []
    for packet in stream.demux(stream.streams.video[0]):
        if packet.dts is not None:
            found.append(packet.dts)
        if len(found) == count:
            break
    return found


def test_silence_withholds_frames_and_ends(camera: SimulatorThread) -> None:
    with _open(camera):
        camera.wait_until("/cam1", lambda stats: stats.video_frames_sent >= 5)
        camera.apply("/cam1", Silence())
        sent = camera.stats("/cam1").video_frames_sent
        silent = camera.wait_until("/cam1", lambda stats: stats.clients[0].video_frames_skipped >= 8)
        assert silent.video_frames_sent == sent
        assert silent.playing == 1
        camera.apply("/cam1", Resume())
        camera.wait_until("/cam1", lambda stats: stats.video_frames_sent >= sent + 5)


def test_a_scripted_silence_withholds_exactly_its_frames(clip: Path) -> None:
    script = (ScriptedFault(0.5, Silence()), ScriptedFault(1.2, Resume()))
    with camera_simulator(CameraSpec("/cam1", clip, loop=False, script=script)) as simulator, _open(simulator) as stream:
        assert [time // 9000 for time in _times(stream, 99)] == [1, 2, 3, 4, *range(12, 20)]
        (client,) = simulator.wait_until("/cam1", lambda stats: stats.playing == 0).clients
    assert (client.video_frames_sent, client.video_frames_skipped) == (13, 7)


@pytest.mark.parametrize("abrupt", [True, False])
def test_connections_are_cut(camera: SimulatorThread, abrupt: bool) -> None:
    with _open(camera) as stream:
        camera.wait_until("/cam1", lambda stats: stats.video_frames_sent >= 5)
        camera.apply("/cam1", CloseConnections(abrupt=abrupt))
        camera.wait_until("/cam1", lambda stats: stats.playing == 0)
        try:
            received = len(_times(stream, 10_000))
        except (av.error.FFmpegError, OSError):
            received = 0
        assert received < 1000
    with _open(camera):  # and the camera takes new clients
        camera.wait_until("/cam1", lambda stats: stats.playing == 1)


def test_lost_packets_are_lost_and_the_same_every_time(clip: Path) -> None:
    dropped = []
    for _ in range(2):
        script = (ScriptedFault(0.0, PacketLoss(drop_share=0.3, seed=3)),)
        with camera_simulator(CameraSpec("/cam1", clip, loop=False, speed=8.0, script=script)) as simulator:
            with _open(simulator) as stream:
                frames = sum(1 for packet in stream.demux(stream.streams.video[0]) if packet.size)
            (client,) = simulator.wait_until("/cam1", lambda stats: stats.playing == 0).clients
        assert frames < 20
        dropped.append((client.packets_dropped, client.packets_sent))
    assert dropped[0] == dropped[1]
    assert dropped[0][0] > 10


def test_corrupt_packets_arrive_corrupt(clip: Path) -> None:
    script = (ScriptedFault(0.3, PacketLoss(corrupt_share=0.5, seed=1)),)
    with camera_simulator(CameraSpec("/cam1", clip, loop=False, speed=4.0, script=script)) as simulator:
        command = ["ffmpeg", "-v", "error", "-rtsp_transport", "tcp", "-i", simulator.url("/cam1"), "-f", "null", "-"]
        errors = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stderr
        (client,) = simulator.wait_until("/cam1", lambda stats: stats.playing == 0).clients
    assert client.packets_corrupted > 5
    assert client.packets_dropped == 0
    assert errors


@pytest.mark.parametrize("jump_s", [600.0, 86_400.0])
def test_timestamps_jump(clip: Path, jump_s: float) -> None:
    fault = TimestampJump(jump_s)
    spec = CameraSpec("/cam1", clip, loop=False, speed=4.0, script=(ScriptedFault(1.0, fault),), report_interval_s=100)
    with camera_simulator(spec) as simulator, _open(simulator) as stream:
        steps = {b - a for a, b in pairwise(packet.pts for packet in stream.demux(stream.streams.video[0]) if packet.pts is not None)}
    jumps = [step for step in steps if step != 9000]
    assert len(jumps) == 1
    assert (jumps[0] - 9000 - round(jump_s * 90_000)) % 2**32 == 0  # the field's width; how far it wraps is the client's
    assert abs(jumps[0]) >= 600 * 90_000


def test_another_size_mid_way(clip: Path, tmp_path: Path) -> None:
    other = make_clip(tmp_path / "other.mp4", size=(160, 96), audio="aac")
    script = (ScriptedFault(1.0, SwitchSource(other)),)
    with camera_simulator(CameraSpec("/cam1", clip, speed=4.0, script=script)) as simulator, _open(simulator) as stream:
        sizes: list[tuple[int, int]] = []
        for frame in stream.decode(video=0):
            sizes.append((frame.width, frame.height))
            if len(sizes) == 20:
                break
    assert sizes[0] == (320, 180)
    assert sizes[-1] == (160, 96)


def test_another_codec_mid_way_keeps_the_session(camera: SimulatorThread, tmp_path: Path) -> None:
    other = make_clip(tmp_path / "other.mov", video="h265", audio="pcmu")
    with _open(camera):
        camera.apply("/cam1", SwitchSource(other))
        sent = camera.stats("/cam1").video_frames_sent
        camera.wait_until("/cam1", lambda stats: stats.playing == 1 and stats.video_frames_sent > sent + 5)
    with _open(camera) as stream:  # who asks anew is told the truth
        assert stream.streams.video[0].codec_context.name == "hevc"


def test_a_switch_to_what_cannot_be_served_is_refused(camera: SimulatorThread, tmp_path: Path) -> None:
    with pytest.raises(CameraStreamError):
        camera.apply("/cam1", SwitchSource(tmp_path / "missing.mp4"))


def test_the_sender_report_clock_is_wrong(clip: Path) -> None:
    offset_s = 3600.0
    script = (ScriptedFault(0.0, SenderClockOffset(offset_s)),)
    with camera_simulator(CameraSpec("/cam1", clip, loop=False, speed=4.0, script=script)) as simulator, _open(simulator) as stream:
        packet = next(iter(stream.demux(stream.streams.video[0])))
        learnt_ns = int.from_bytes(bytes(packet.get_sidedata("prft"))[:8], "little") * 1000
        true_ns = simulator.stats("/cam1").clients[0].first_capture_ns
    assert true_ns is not None
    assert (learnt_ns - true_ns) / 1e9 == pytest.approx(offset_s, abs=1e-3)


def test_new_connections_are_refused_for_a_while(camera: SimulatorThread, clip: Path) -> None:
    camera.add(CameraSpec("/cam2", clip))
    camera.apply("/cam1", Refuse())
    with pytest.raises((av.error.FFmpegError, OSError)):
        _open(camera)
    with av.open(camera.url("/cam2"), options={"rtsp_transport": "tcp"}):
        pass  # the other camera is not harmed
    camera.apply("/cam1", Resume())
    with _open(camera):
        pass


def test_who_plays_already_goes_on_through_its_keep_alives(camera: SimulatorThread, clip: Path) -> None:
    camera.add(CameraSpec("/cam3", clip, session_timeout_s=2))  # FFmpeg keeps alive at half of it
    with av.open(camera.url("/cam3"), options={"rtsp_transport": "tcp"}) as stream:
        camera.apply("/cam3", Refuse())
        packets = stream.demux(stream.streams.video[0])
        read_s = 0.0
        while read_s < 4.0:
            packet = next(packets)
            read_s += float((packet.duration or 0) * packet.time_base)
        assert camera.stats("/cam3").playing == 1


def test_the_port_closes_and_opens_again(camera: SimulatorThread) -> None:
    with _open(camera):
        camera.stop_listening()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", camera.port), timeout=60)
        camera.wait_until("/cam1", lambda stats: stats.playing == 0)
    camera.listen()
    with _open(camera):
        camera.wait_until("/cam1", lambda stats: stats.playing == 1)
