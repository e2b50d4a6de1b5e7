"""Channels: where a camera's streams are, how they are recorded and analysed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from shared.config.base import BASE_DIR, CertificateFile, Secret, Section, Slug, raise_misfits
from shared.config.references import rule_misfits
from shared.config.rules import AnyRule

_SCHEMES = ("rtsp", "rtsps", "http", "https", "file")


def _check_url(text: str, info: ValidationInfo) -> str:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:  # its text may quote the URL, and with it a password
        raise ValueError("this is no URL; an example: rtsp://192.0.2.10:554/stream1") from error
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"the URL must begin with one of {', '.join(scheme + '://' for scheme in _SCHEMES)}")
    if parts.scheme == "file":
        return _check_file_url(text, info)
    if not parts.hostname or port == 0:
        raise ValueError("the URL names no host" if not parts.hostname else "port 0 is no port of a camera")
    if parts.password is not None:
        raise ValueError("write the password under `password`, not into the URL")
    return text


def _check_file_url(text: str, info: ValidationInfo) -> str:
    """`file:///absolute/path` as it is; `file:relative/path` from the folder of the configuration file."""
    parts = urlsplit(text)
    if parts.netloc not in ("", "localhost"):
        raise ValueError("a file is written file:///absolute/path (three slashes) or file:path/relative/to/this/file")
    base = info.context.get(BASE_DIR) if isinstance(info.context, dict) else None
    if not parts.path.startswith("/") and isinstance(base, Path):
        return f"file://{base / parts.path}"
    return text


class Transport(StrEnum):
    """How RTP travels."""

    TCP = "tcp"
    UDP = "udp"


class StreamConfig(Section):
    """One stream of a camera."""

    url: Annotated[str, AfterValidator(_check_url)]
    """rtsp://, rtsps://, http(s):// or file:// (looped in real time), without user name and password."""
    transport: Transport = Transport.TCP
    """How RTP travels; RTSP only."""
    user: str = ""
    """User name on the camera; empty: none."""
    password: Secret | None = None
    """Password on the camera: {env: NAME}, {file: PATH} or text; null: none."""
    verify_tls: bool = True
    """rtsps and https: refuse a certificate that no known authority signed, or that is for another name."""
    ca_file: CertificateFile | None = None
    """PEM file of the authorities (or self-signed certificates) to believe for this stream; null: `ingest.ca_file`."""


class AudioMode(StrEnum):
    """What becomes of sound that is not AAC."""

    TRANSCODE = "transcode"  # AAC is passed, anything else becomes AAC
    COPY = "copy"  # AAC is passed, anything else is dropped
    OFF = "off"


class RecordMode(StrEnum):
    """When a channel is recorded."""

    ALWAYS = "always"
    SCHEDULE = "schedule"  # continuous inside `schedule`, alarm footage outside
    ALARM = "alarm"  # alarm footage only
    OFF = "off"


class RecordingConfig(Section):
    """How a channel is kept."""

    mode: RecordMode = RecordMode.ALWAYS
    """always; schedule: continuous inside `schedule`, alarm footage outside; alarm: alarm footage only; off."""
    schedule: Slug | None = None
    """Id of a schedule, for mode `schedule`."""
    quota_bytes: int | None = Field(default=None, ge=1024 * 1024)
    """Bytes; in quota mode this channel's share: over it the channel overwrites its own oldest. null: none."""
    keep_days: float | None = Field(default=None, gt=0)
    """Days after which recordings expire; null: never."""
    group: Slug | None = None
    """Name of a storage group (`storage.groups`) that recordings go to; null: `storage.bucket`."""
    snapshots_group: Slug | None = None
    """The same of snapshots; null: `storage.snapshots_bucket`."""

    @model_validator(mode="after")
    def _schedule_named(self) -> Self:
        if self.mode is RecordMode.SCHEDULE and self.schedule is None:
            raise ValueError("mode `schedule` needs `schedule`")
        return self


class AnalysisStream(StrEnum):
    AUTO = "auto"  # the sub stream where there is one
    MAIN = "main"
    SUB = "sub"


class AnalysisConfig(Section):
    """Which frames analytics gets."""

    enabled: bool = True
    """false: the channel is recorded, but not analysed."""
    stream: AnalysisStream = AnalysisStream.AUTO
    """auto: the sub stream where there is one, else the main stream."""
    fps: float = Field(default=5, gt=0, le=30)
    """Frames per second."""
    width: int = Field(default=640, ge=160, le=1920, multiple_of=2)
    """Pixels; frames are fitted into width x height, the aspect ratio kept."""
    height: int = Field(default=360, ge=90, le=1080, multiple_of=2)
    """Pixels."""


class ChannelConfig(Section):
    """One camera."""

    id: Slug
    """Unique and lasting: folders, links and alarms carry it."""
    number: int = Field(ge=1, le=4096)
    """Unique and lasting: it chooses the channel's partition."""
    name: str = ""
    """What people call it; empty: its id."""
    enabled: bool = True
    """false: the camera is not even connected to."""
    main: StreamConfig
    """The stream that is recorded."""
    sub: StreamConfig | None = None
    """A smaller stream for analysis, keys as of `main`; null: the main stream is decoded instead (ten times the work)."""
    audio: AudioMode = AudioMode.TRANSCODE
    """AAC is always kept as it is. Other sound: transcode to AAC, or (copy) dropped; off: no sound at all."""
    recording: RecordingConfig = RecordingConfig()
    analysis: AnalysisConfig = AnalysisConfig()
    rules: tuple[AnyRule, ...] = ()
    """What raises events and alarms on this channel."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        raise_misfits(rule_misfits(self.model_dump(include={"rules"})))
        if self.analysis.stream is AnalysisStream.SUB and self.sub is None:
            raise ValueError("analysis.stream is `sub`, but there is no sub stream")
        return self

    @property
    def title(self) -> str:
        """What people call it."""
        return self.name or self.id
