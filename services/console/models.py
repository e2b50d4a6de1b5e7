"""What the console's own API answers. Nothing here can hold a camera's address or a secret: there is no field for them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.config.site import SiteConfig
from shared.domain.targets import TargetClass
from shared.messages import ChannelState, StreamFacts


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True)


class Credentials(BaseModel):
    """What the login page sends."""

    model_config = ConfigDict(extra="forbid")

    user: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=256, repr=False)


class SessionAnswer(Answer):
    """Who is logged in."""

    user: str


class Problem(Answer):
    """What is wrong and what to do."""

    detail: str


class RuleAnswer(Answer):
    """One rule, as drawn over the picture. Points are 0..1 of the frame."""

    id: str
    name: str
    kind: str
    enabled: bool
    targets: tuple[TargetClass, ...]
    line: tuple[tuple[float, float], ...] = ()
    zone: tuple[tuple[float, float], ...] = ()
    direction: str = ""


class ChannelAnswer(Answer):
    """One channel, without its addresses. `live`: whether ingest sends pictures of it at all."""

    id: str
    number: int
    title: str
    enabled: bool
    recording: str
    analysis: bool
    analysis_fps: float
    live: bool
    rules: tuple[RuleAnswer, ...]


class SiteAnswer(Answer):
    """The site as the page needs it."""

    name: str
    time_zone: str
    device: str
    user: str
    channels: tuple[ChannelAnswer, ...]


class ChannelStatusAnswer(StreamFacts, Answer):
    """What a channel is doing, by its main stream. `state` is `waiting` until ingest has said something.

    `reason`: also while online, when the sub stream has trouble. `analysis_late_s`: how far the newest boxes are behind the newest picture.
    """

    channel: str
    number: int
    state: ChannelState | Literal["waiting"]
    reason: str = ""
    error: str = ""
    since_ns: int = 0
    at_ns: int = 0
    analysis_late_s: float = 0.0


class ServiceAnswer(Answer):
    """What a service says about itself. `process`: HOST:PORT of the process that it runs in; empty: the console's own."""

    name: str
    process: str = ""
    ok: bool
    summary: str
    details: dict[str, str | int | float | bool]


class StatusAnswer(Answer):
    """The whole recorder at a glance."""

    now_ns: int
    ok: bool
    channels: tuple[ChannelStatusAnswer, ...]
    services: tuple[ServiceAnswer, ...]


class HealthAnswer(Answer):
    """For probes: nothing that a stranger should not know."""

    status: Literal["ok", "degraded"]


def site_answer(site: SiteConfig, user: str) -> SiteAnswer:
    """The site without addresses, user names, passwords and destinations: only what is named here is copied."""
    channels = tuple(
        ChannelAnswer(
            id=channel.id,
            number=channel.number,
            title=channel.title,
            enabled=channel.enabled,
            recording=channel.recording.mode.value,
            analysis=channel.analysis.enabled,
            analysis_fps=channel.analysis.fps,
            live=channel.analysis.enabled or site.ingest.live_fps > 0,
            rules=tuple(
                RuleAnswer(
                    id=rule.id,
                    name=rule.name or rule.id,
                    kind=rule.kind,
                    enabled=rule.enabled,
                    targets=rule.targets,
                    line=tuple(getattr(rule, "line", ())),
                    zone=tuple(getattr(rule, "zone", ())),
                    direction=str(getattr(rule, "enter", getattr(rule, "direction", ""))),
                )
                for rule in channel.rules
            ),
        )
        for channel in sorted(site.channels, key=lambda channel: channel.number)
    )
    return SiteAnswer(name=site.site.name, time_zone=site.site.time_zone, device=site.device.id, user=user, channels=channels)
