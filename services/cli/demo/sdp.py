"""The session description (RFC 4566) of a source, as a camera answers it to DESCRIBE. Pure."""

from __future__ import annotations

import base64

from services.cli.demo.parameter_sets import H265_PPS, H265_SPS, H265_VPS, nal_type
from services.cli.demo.source import Codec, MediaSource, MediaTrack


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _h264_fmtp(track: MediaTrack) -> str:
    sets = track.parameter_sets
    parts = ["packetization-mode=1"]
    if sets:
        parts += [f"profile-level-id={sets[0][1:4].hex().upper()}"]
        parts += ["sprop-parameter-sets=" + ",".join(_base64(nal) for nal in sets)]
    return ";".join(parts)


def _h265_fmtp(track: MediaTrack) -> str:
    parts = []
    for name, kind in (("sprop-vps", H265_VPS), ("sprop-sps", H265_SPS), ("sprop-pps", H265_PPS)):
        nals = [nal for nal in track.parameter_sets if nal_type(nal, track.codec) == kind]
        if nals:
            parts.append(f"{name}=" + ",".join(_base64(nal) for nal in nals))
    return ";".join(parts)


def _aac_fmtp(track: MediaTrack) -> str:
    return (
        f"streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config={track.config.hex().upper()}"
    )


_NAMES = {
    Codec.H264: "H264",
    Codec.H265: "H265",
    Codec.MJPEG: "JPEG",
    Codec.AAC: "MPEG4-GENERIC",
    Codec.PCMU: "PCMU",
    Codec.PCMA: "PCMA",
}
_FMTP = {Codec.H264: _h264_fmtp, Codec.H265: _h265_fmtp, Codec.AAC: _aac_fmtp}


def _media(number: int, track: MediaTrack) -> list[str]:
    kind = "video" if track.codec.is_video else "audio"
    channels = f"/{track.channels}" if track.channels else ""
    lines = [
        f"m={kind} 0 RTP/AVP {track.payload_type}",
        f"a=rtpmap:{track.payload_type} {_NAMES[track.codec]}/{track.clock_rate}{channels}",
    ]
    fmtp = _FMTP[track.codec](track) if track.codec in _FMTP else ""
    if fmtp:
        lines.append(f"a=fmtp:{track.payload_type} {fmtp}")
    return [*lines, f"a=control:trackID={number}"]


def describe(source: MediaSource, *, host: str, session_id: int, once: bool) -> bytes:
    """SDP bytes. A source played once tells its length, a looped one is an endless live stream."""
    length = f"0-{source.duration_ns / 1e9:.3f}" if once else "now-"
    lines = [
        "v=0",
        f"o=- {session_id} 1 IN IP4 {host}",
        "s=Camera",
        f"c=IN IP4 {host}",
        "t=0 0",
        "a=control:*",
        f"a=range:npt={length}",
    ]
    for number, track in enumerate(source.tracks):
        lines += _media(number, track)
    return ("\r\n".join(lines) + "\r\n").encode()
