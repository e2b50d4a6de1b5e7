"""Channels: where a camera's streams are, how they are recorded and analysed."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from shared.config.base import Secret, Section, Slug
from shared.config.rules import AnyRule

_SCHEMES = ("rtsp", "rtsps", "http", "https", "file")


def _check_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"the URL must begin with one of {', '.join(scheme + '://' for scheme in _SCHEMES)}")
    if parts.scheme != "file" and not parts.hostname:
        raise ValueError("the URL names no host")
    if parts.password is not None:
        raise ValueError("write the password under `password`, not into the URL")
    return text


class Transport(StrEnum):
    """How RTP travels."""

    TCP = "tcp"
    UDP = "udp"


class StreamConfig(Section):
    """One stream of a camera."""

    url: Annotated[str, AfterValidator(_check_url)]
    """rtsp://, rtsps://, http(s):// or file:// (looped in real time)."""
    transport: Transport = Transport.TCP
    user: str = ""
    password: Secret | None = None
    verify_tls: bool = True


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
    schedule: Slug | None = None
    quota_bytes: int | None = Field(default=None, ge=1024 * 1024)
    """In quota mode: this channel's share; over it the channel overwrites its own oldest."""
    keep_days: float | None = Field(default=None, gt=0)
    """Recordings expire after this; none: never."""

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
    stream: AnalysisStream = AnalysisStream.AUTO
    fps: float = Field(default=5, gt=0, le=30)
    width: int = Field(default=640, ge=160, le=1920, multiple_of=2)
    height: int = Field(default=360, ge=90, le=1080, multiple_of=2)
    """Frames are fitted into width x height, the aspect ratio kept."""


class ChannelConfig(Section):
    """One camera."""

    id: Slug
    number: int = Field(ge=1, le=4096)
    """Unique and lasting: it chooses the channel's partition."""
    name: str = ""
    enabled: bool = True
    main: StreamConfig
    sub: StreamConfig | None = None
    audio: AudioMode = AudioMode.TRANSCODE
    recording: RecordingConfig = RecordingConfig()
    analysis: AnalysisConfig = AnalysisConfig()
    rules: tuple[AnyRule, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ids = [rule.id for rule in self.rules]
        for rule_id in ids:
            if ids.count(rule_id) > 1:
                raise ValueError(f"two rules are called {rule_id!r}")
        if self.analysis.stream is AnalysisStream.SUB and self.sub is None:
            raise ValueError("analysis.stream is `sub`, but there is no sub stream")
        return self

    @property
    def title(self) -> str:
        """What people call it."""
        return self.name or self.id
