import base64

import pytest

from services.cli.demo.rtsp_auth import AuthScheme, Credentials, accepted, challenge, digest_response

URL = "rtsp://host/cam1"


def test_digest_response_of_rfc_2617_section_3_5() -> None:
    credentials = Credentials("Mufasa", "Circle Of Life", realm="testrealm@host.com")
    fields = {
        "uri": "/dir/index.html",
        "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093",
        "qop": "auth",
        "nc": "00000001",
        "cnonce": "0a4f113b",
    }
    assert digest_response(credentials, "GET", fields) == "6629fae49393a05397450978507c4ef1"


def _digest(credentials: Credentials, *, method: str = "DESCRIBE", nonce: str = "n1", uri: str = URL) -> str:
    answer = digest_response(credentials, method, {"uri": uri, "nonce": nonce})
    return f'Digest username="{credentials.user}", realm="{credentials.realm}", nonce="{nonce}", uri="{uri}", response="{answer}"'


def test_digest_accepts_the_account_only() -> None:
    camera = Credentials("admin", "right, really")
    assert accepted(camera, _digest(camera), method="DESCRIBE", url=URL, nonce="n1")
    for header in (
        None,
        "",
        "Digest",
        "Digest username",
        _digest(Credentials("admin", "wrong")),
        _digest(Credentials("root", "right, really")),
        _digest(camera, nonce="stale"),
        _digest(camera, method="PLAY"),
        _digest(camera, uri="rtsp://host/other"),
        "Basic " + base64.b64encode(b"admin:right, really").decode(),
    ):
        assert not accepted(camera, header, method="DESCRIBE", url=URL, nonce="n1"), header


@pytest.mark.parametrize(("given", "good"), [("admin:p:w", True), ("admin:x", False), ("", False)])
def test_basic(given: str, good: bool) -> None:
    camera = Credentials("admin", "p:w", AuthScheme.BASIC)
    header = "Basic " + base64.b64encode(given.encode()).decode()
    assert accepted(camera, header, method="PLAY", url=URL, nonce="") is good
    assert not accepted(camera, "Basic !!!", method="PLAY", url=URL, nonce="")
    assert challenge(camera, "n") == 'Basic realm="Vedette camera simulator"'


def test_a_password_is_not_in_the_repr() -> None:
    assert "secret" not in repr(Credentials("admin", "secret"))
