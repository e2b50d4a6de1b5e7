"""What `vedette camera probe` makes of what it saw."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.cli.camera import describe, snippet, stream_config
from services.ingest.probe import StreamReport
from shared.config.channels import Transport
from shared.config.load import parse_site
from shared.domain.errors import ConfigError

GOOD = StreamReport(
    url="rtsp://cam/1", codec="h264", width=640, height=360, fps=10.0, gop_frames=20, bitrate_bps=1_000_000, frames=50, seconds=5.0,
    audio_codec="aac", audio_rate=16000, sender_reports=True, clock_offset_s=0.0, lost=0,
)  # fmt: skip


def rows(report: StreamReport) -> dict[str, str]:
    return dict(describe(report))


def test_a_good_camera_gets_no_advice() -> None:
    assert rows(GOOD) == {
        "video": "h264, 640x360",
        "frames": "10 a second (50 in 5.0 s)",
        "bit rate": "1.00 Mbit/s, 10.8 GB a day",
        "key frame": "every 20 frames (2.0 s)",
        "sound": "aac at 16000 Hz, kept as it is",
        "clock": "+0.0 s against this machine",
    }


@pytest.mark.parametrize(
    ("report", "row", "said"),
    [
        (replace(GOOD, gop_frames=100), "key frame", "set the camera to 1 to 4 s"),
        (replace(GOOD, gop_frames=None), "key frame", "watch longer"),
        (replace(GOOD, audio_codec="pcm_alaw", audio_rate=8000), "sound", "becomes AAC"),
        (replace(GOOD, clock_offset_s=-3600.0), "clock", "set the camera's clock by NTP"),
        (replace(GOOD, lost=3), "losses", "use transport tcp"),
        (replace(GOOD, width=1920, height=1080), "advice", "as `sub`"),
    ],
)
def test_what_could_be_better_is_said(report: StreamReport, row: str, said: str) -> None:
    assert said in rows(report)[row]


def test_the_piece_of_configuration_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOOR", "geheim-17")
    config = stream_config("rtsps://viewer:other@cam:322/1", "", "DOOR", Transport.UDP, verify_tls=False)
    text = snippet(config, "DOOR")
    assert "geheim" not in text
    assert "other" not in text
    channel = parse_site(text).channels[0]
    assert channel.main == config


@pytest.mark.parametrize("url", ["cam", "rtsp://", "rtsp://cam:x/1", "ftp://cam/1"])
def test_what_is_no_camera_url_is_told(url: str) -> None:
    with pytest.raises(ConfigError):
        stream_config(url, "", "", Transport.TCP, verify_tls=True)
