"""No URL shows its password once it is redacted, wherever the camera wants it; the rest of it stays readable."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.domain.redact import redact

MARK = "geheim17"
#: Characters of a password that a URL, or a careless user, may hold.
_ANY = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, blacklist_characters="\x7f\x85\xa0\xad"), max_size=6)
_KEYS = [
    "pass",
    "password",
    "passwd",
    "Pwd",
    "psw",
    "PSWD",
    "pw",
    "loginpas",
    "admin_password",
    "token",
    "api_key",
    "auth",
    "p",
    "access_token",
]


@given(
    _ANY, _ANY, st.sampled_from(["rtsp", "rtsps", "https", "postgresql+asyncpg"]), st.sampled_from(["", " is away", " and rtsp://b:554/x"])
)
def test_before_the_host(before: str, after: str, scheme: str, rest: str) -> None:
    password = before + MARK + after
    assume(not re.match(r"\d+/", password))  # that is a port and a path
    text = redact(f"the camera {scheme}://viewer:{password}@cam.example:554/stream1{rest}")
    assert MARK not in text
    assert text.startswith(f"the camera {scheme}://viewer:***@")
    assert text.endswith(f"cam.example:554/stream1{rest}")
    assert redact(text) == text


@given(
    _ANY,
    _ANY,
    st.sampled_from(_KEYS),
    st.sampled_from(["?", "?user=admin&", "?usr=a&x=1&"]),
    st.sampled_from(["", "&channel=1", " refused"]),
)
def test_in_the_query(before: str, after: str, key: str, query: str, rest: str) -> None:
    assume("&" not in before + after)
    text = redact(f"rtsp://cam:554/live{query}{key}={before}{MARK}{after}{rest}")
    assert text == f"rtsp://cam:554/live{query}{key}=***{rest}"
    assert redact(text) == text


@given(
    st.text("abcXYZ019_-.!$@%+*~", max_size=8),
    st.sampled_from(_KEYS),
    st.sampled_from(["_channel=1_stream=0.sdp", "&channel=1&stream=0.sdp?real_stream", ";channel=1", "?stream=1", ""]),
)
def test_in_the_path(around: str, key: str, rest: str) -> None:
    text = redact(f"rtsp://192.0.2.10:554/user=admin_{key}={around}{MARK}{around}{rest}")
    assert text == f"rtsp://192.0.2.10:554/user=admin_{key}=***{rest}"
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "rtsp://192.0.2.10/user=admin_password=tlJwpbo6_channel=1_stream=0.sdp?real_stream",
            "rtsp://192.0.2.10/user=admin_password=***_channel=1_stream=0.sdp?real_stream",
        ),
        (
            "rtsp://192.0.2.10/user=admin&password=&channel=1&stream=0.sdp?",
            "rtsp://192.0.2.10/user=admin&password=***&channel=1&stream=0.sdp?",
        ),
        ("http://192.0.2.10/video.cgi?usr=admin&pwd=12345", "http://192.0.2.10/video.cgi?usr=admin&pwd=***"),
        ("http://192.0.2.10/cgi?loginuse=admin&loginpas=888888&res=1", "http://192.0.2.10/cgi?loginuse=admin&loginpas=***&res=1"),
        ("http://192.0.2.10/snap.jpg?psw=a/b?c&user=x", "http://192.0.2.10/snap.jpg?psw=***&user=x"),
        ("secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw.", "secret whsec_***."),
        ("rtsp://u:p@w/x@cam/1", "rtsp://u:***@cam/1"),
    ],
)
def test_as_cameras_have_it(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://192.0.2.10:554/Streaming/Channels/101?transportmode=unicast&profile=Profile_1",
        "rtsp://192.0.2.10:554/cam/realmonitor?channel=1&subtype=0",
        "http://192.0.2.10:8080/stream@1/a",
        "rtsp://viewer@cam/1",
        "kafka 127.0.0.1:9092: the broker does not answer (is it running?)",
        "segments/3/17: no key frame; 24:00 is the end, a@b",
    ],
)
def test_what_holds_no_secret_stays(text: str) -> None:
    assert redact(text) == text
