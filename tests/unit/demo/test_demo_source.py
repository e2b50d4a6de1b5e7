import base64
import re
from itertools import pairwise
from pathlib import Path

import pytest

from services.cli.demo.playback import Cursor
from services.cli.demo.rtp import MAX_PACKET_BYTES, RTP_HEADER_BYTES
from services.cli.demo.sdp import describe
from services.cli.demo.source import Codec, load_source
from shared.domain.errors import CameraStreamError
from tests.support.clips import make_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


def _sdp(file: Path) -> str:
    return describe(load_source(file), host="127.0.0.1", session_id=1, once=False).decode()


def test_h264_with_aac(folder: Path) -> None:
    file = make_clip(folder / "h264.mp4", audio="aac")
    source = load_source(file)
    assert [track.codec for track in source.tracks] == [Codec.H264, Codec.AAC]
    assert source.video_frames == 20
    assert source.duration_ns == 2_000_000_000
    assert [frame.pts_ns for frame in source.frames if frame.track == 0] == [n * 100_000_000 for n in range(20)]
    assert [frame.index for frame in source.frames if frame.track == 0 and frame.key] == [0, 10]
    assert all(len(p.data) + RTP_HEADER_BYTES <= MAX_PACKET_BYTES for frame in source.frames for p in frame.payloads)
    sdp = _sdp(file)
    sets = re.search(r"sprop-parameter-sets=([^;,\r]+),([^;,\r]+)", sdp)
    assert sets is not None
    assert [base64.b64decode(text)[0] & 0x1F for text in sets.groups()] == [7, 8]
    assert "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/16000/1\r\n" in sdp
    assert "config=1408" in sdp  # AAC-LC, 16 kHz, mono (ISO 14496-3 AudioSpecificConfig)


def test_a_key_frame_repeats_the_parameter_sets(folder: Path) -> None:
    source = load_source(make_clip(folder / "sets.mp4"))
    key = next(frame for frame in source.frames if frame.key)
    assert [payload.data for payload in key.payloads[:2]] == list(source.tracks[0].parameter_sets)
    assert [payload.marker for payload in key.payloads] == [False] * (len(key.payloads) - 1) + [True]


def test_h265_with_g711(folder: Path) -> None:
    sdp = _sdp(make_clip(folder / "h265.mov", video="h265", audio="pcmu"))
    kinds = {name: base64.b64decode(text)[0] >> 1 & 0x3F for name, text in re.findall(r"sprop-(\w+)=([^;,\r]+)", sdp)}
    assert kinds == {"vps": 32, "sps": 33, "pps": 34}
    assert "m=audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000/1\r\n" in sdp


def test_mjpeg_with_a_law(folder: Path) -> None:
    sdp = _sdp(make_clip(folder / "mjpeg.mov", video="mjpeg", audio="pcma"))
    assert "m=video 0 RTP/AVP 26\r\na=rtpmap:26 JPEG/90000\r\na=control:trackID=0\r\n" in sdp
    assert "a=rtpmap:8 PCMA/8000/1" in sdp


def test_what_cannot_be_served_says_so(folder: Path) -> None:
    empty = folder / "empty.mp4"
    empty.touch()
    for file, text in (
        (make_clip(folder / "old.mp4", video="mpeg4"), "mpeg4 cannot be served"),
        (empty, "empty.mp4"),
        (folder / "missing.mp4", "missing.mp4"),
    ):
        with pytest.raises(CameraStreamError, match=text):
            load_source(file)


def test_a_loop_goes_on_at_the_same_pace(folder: Path) -> None:
    source = load_source(make_clip(folder / "loop.mp4", audio="aac"))
    cursor = Cursor(source)
    times: list[int] = []
    while len(times) < 65:
        if cursor.frame.track == 0:
            times.append(cursor.pass_start_ns + cursor.frame.pts_ns)
        assert cursor.advance(loop=True)
    assert {b - a for a, b in pairwise(times)} == {100_000_000}


@pytest.mark.parametrize(("at_s", "expected_s"), [(0, 0), (0.05, 1), (1.0, 1), (1.01, 2), (7.3, 8)])
def test_joining_a_live_camera_waits_for_a_key_frame(folder: Path, at_s: float, expected_s: float) -> None:
    cursor = Cursor(load_source(make_clip(folder / "live.mp4", audio="aac")))
    cursor.seek_key(round(at_s * 1e9))
    assert cursor.frame.key
    assert cursor.frame.track == 0
    assert cursor.pass_start_ns + cursor.frame.pts_ns == round(expected_s * 1e9)
