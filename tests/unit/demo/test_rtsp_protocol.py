from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.demo.rtsp_protocol import (
    MAX_HEAD_BYTES,
    InterleavedFrame,
    RtspParser,
    RtspProtocolError,
    RtspRequest,
    Target,
    TransportSpec,
    choose_transport,
    parse_target,
    response,
)

PLAY = b"PLAY rtsp://host:8554/cam1/ RTSP/1.0\r\nCSeq: 5\r\nSession: abc\r\n\r\n"
REPORT = b"$\x01\x00\x04abcd"
SET = b"SET_PARAMETER rtsp://host/cam1 RTSP/1.0\r\nCSeq: 6\r\nContent-Length: 3\r\n\r\nxyz"


def test_reads_requests_bodies_and_interleaved_frames_in_order() -> None:
    play, report, parameter = RtspParser().feed(PLAY + REPORT + SET)
    assert play == RtspRequest("PLAY", "rtsp://host:8554/cam1/", {"cseq": "5", "session": "abc"})
    assert report == InterleavedFrame(1, b"abcd")
    assert isinstance(parameter, RtspRequest)
    assert (parameter.cseq, parameter.body) == ("6", b"xyz")


@given(st.lists(st.sampled_from([PLAY, REPORT, SET, b"\r\n" + PLAY]), max_size=6), st.data())
def test_pieces_do_not_matter(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    parser = RtspParser()
    found: list[RtspRequest | InterleavedFrame] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += parser.feed(stream[start:end])
    assert found == list(RtspParser().feed(stream))
    assert len(found) == len(messages)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 505),
        (b"nonsense\r\n\r\n", 400),
        (b"PLAY rtsp://[host RTSP/1.0\r\n\r\n", 400),
        (b"PLAY rtsp://h/ RTSP/1.0\r\nno colon\r\n\r\n", 400),
        (b"PLAY rtsp://h/ RTSP/1.0\r\nContent-Length: 99999999\r\n\r\n", 400),
        (b"PLAY rtsp://h/ RTSP/1.0\r\nContent-Length: -1\r\n\r\n", 400),
        (b"P" * (MAX_HEAD_BYTES + 1), 400),
    ],
)
def test_refuses_what_is_no_rtsp(data: bytes, status: int) -> None:
    with pytest.raises(RtspProtocolError) as caught:
        list(RtspParser().feed(data))
    assert caught.value.status == status


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(RtspProtocolError):  # nothing else may come out
        list(RtspParser().feed(data))


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("rtsp://h:1/cam1", Target("/cam1")),
        ("rtsp://h:1/cam1/", Target("/cam1")),
        ("rtsp://h/cam1/sub/trackID=1", Target("/cam1/sub", 1)),
        ("rtsp://h/cam1?channel=2", Target("/cam1")),
        ("/cam1", Target("/cam1")),
        ("*", Target("/")),
    ],
)
def test_targets(url: str, target: Target) -> None:
    assert parse_target(url) == target


@pytest.mark.parametrize(
    ("header", "udp", "chosen"),
    [
        ("RTP/AVP/TCP;unicast;interleaved=0-1", True, TransportSpec(tcp=True, channels=(0, 1))),
        ("RTP/AVP/TCP;unicast", True, TransportSpec(tcp=True)),
        ("RTP/AVP;unicast;client_port=5000-5001", True, TransportSpec(tcp=False, client_ports=(5000, 5001))),
        ("RTP/AVP;unicast;client_port=5000-5001,RTP/AVP/TCP;interleaved=2-3", False, TransportSpec(tcp=True, channels=(2, 3))),
        ("RTP/AVP;unicast;client_port=5000-5001", False, None),
        ("RTP/AVP;multicast", True, None),
        ("RTP/AVP;unicast;client_port=0-70000", True, None),
        ("RTP/AVP/TCP;interleaved=0-1;mode=record", True, None),
        ("", True, None),
    ],
)
def test_transport_choice(header: str, udp: bool, chosen: TransportSpec | None) -> None:
    assert choose_transport(header, allow_udp=udp) == chosen


def test_what_came_before_nonsense_is_still_given() -> None:
    messages = RtspParser().feed(PLAY + b"nonsense\r\n\r\n")
    assert isinstance(next(messages), RtspRequest)
    with pytest.raises(RtspProtocolError):
        next(messages)


def test_response_has_length_only_with_a_body() -> None:
    assert response(200, "7", {"Session": "s"}, b"ab").endswith(b"Content-Length: 2\r\n\r\nab")
    assert b"Content-Length" not in response(404, "7")
    assert response(404, "7").startswith(b"RTSP/1.0 404 Stream Not Found\r\nCSeq: 7\r\n")
