"""What the console knows from the bus, and the texts it sends to pages. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from services.console.models import ChannelStatusAnswer
from shared.config.base import secrets_of
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S
from shared.domain.media import StreamKind
from shared.domain.redact import redact
from shared.messages import (
    ActionKind,
    ActionMessage,
    ActionPhase,
    AlarmMessage,
    ChannelState,
    ChannelStatus,
    DetectionsMessage,
    EventKind,
    EventMessage,
    FrameMessage,
    Message,
    RecordingMessage,
)

#: Counted by stream; the spool and dropped frames are the channel's already.
_SUMS = ("reconnects", "lost_segments")


@dataclass(frozen=True, slots=True)
class Text:
    """A message for every page. `key`: a newer one of the same key replaces an older; None: a notice, kept in order."""

    key: str | None
    json: str


def envelope(kind: str, data: str) -> str:
    """`{"type": kind, "data": data}`; `data` is JSON."""
    return f'{{"type":"{kind}","data":{data}}}'


class LiveState:
    """The latest status per channel and count per rule. Messages about channels that the site does not have are ignored."""

    def __init__(self, site: SiteConfig) -> None:
        self._reported: dict[str, dict[StreamKind, ChannelStatus]] = {}
        self._first_frame_ns: dict[str, int] = {}
        self._frame_ns: dict[str, int] = {}
        self._boxes_ns: dict[str, int] = {}
        self._counts: dict[tuple[str, str], str] = {}
        self._take_site(site)

    def _take_site(self, site: SiteConfig) -> None:
        self.site = site
        self._secrets = tuple(secrets_of(site.model_dump()))
        self._numbers = {channel.id: channel.number for channel in site.channels}
        self._analysed = {channel.id for channel in site.channels if channel.analysis.enabled}

    def reconfigure(self, site: SiteConfig) -> Text:
        """Show `site` from here on; what is known of channels and rules that stay is kept. Returns what tells the pages."""
        before = secrets_of(self.site.model_dump())
        self._take_site(site)
        self._secrets = tuple(dict.fromkeys((*self._secrets, *before)))  # a service that has not taken it yet may still tell the old ones
        for known in (self._first_frame_ns, self._frame_ns, self._boxes_ns):
            for channel in known.keys() - self._analysed:  # analysed again later, it is measured anew
                del known[channel]
        for channel in self._reported.keys() - self._numbers.keys():
            del self._reported[channel]
        rules = {(channel.id, rule.id) for channel in site.channels for rule in channel.rules}
        for rule in self._counts.keys() - rules:
            del self._counts[rule]
        return Text("site", envelope("site", "{}"))

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(self._numbers)

    def clean(self, text: str) -> str:
        """`text` without secrets. Writers promise it already; the page is the last place that can keep the promise."""
        return redact(text, self._secrets)

    def statuses(self) -> tuple[ChannelStatusAnswer, ...]:
        """One per channel of the site, by number."""
        ordered = sorted(self._numbers.items(), key=lambda item: item[1])
        return tuple(self._status(channel, number) for channel, number in ordered)

    def frame(self, message: FrameMessage) -> None:
        """Note a picture: analysis is measured against it."""
        if message.channel in self._analysed:
            if message.capture_ns < self._frame_ns.get(message.channel, 0):  # the camera's clock was set back: measured anew
                self._first_frame_ns.pop(message.channel, None)
                self._boxes_ns.pop(message.channel, None)
            self._first_frame_ns.setdefault(message.channel, message.capture_ns)
            self._frame_ns[message.channel] = message.capture_ns

    def greeting(self) -> Iterable[Text]:
        """What a page that has just connected is told."""
        for status in self.statuses():
            yield _status_text(status)
        for (channel, rule), text in self._counts.items():
            yield Text(f"counts/{channel}/{rule}", text)

    def take(self, message: Message) -> Text | None:  # noqa: PLR0911  # one return per kind of message: a table
        """Learn from a message; the text for the pages, or None when it does not concern them."""
        match message:
            case DetectionsMessage():
                self._boxes_ns[message.channel] = message.capture_ns
                return Text(f"detections/{message.channel}", envelope("detections", message.model_dump_json()))
            case ChannelStatus():
                return self._channel_status(message)
            case AlarmMessage():
                safe = message.model_copy(update={"message": self.clean(message.message)})
                return Text(f"alarm/{message.alarm_id}", envelope("alarm", safe.model_dump_json()))
            case ActionMessage(action=ActionKind.SHOW_MESSAGE, phase=ActionPhase.REQUESTED):
                safe_action = message.model_copy(update={"text": self.clean(message.text)})
                return Text(None, envelope("notice", safe_action.model_dump_json()))
            case EventMessage(kind=EventKind.PEOPLE_COUNTING) if message.counts:
                return self._count(message)
            case RecordingMessage():
                # Pages only need to know that something changed; they ask storage for what.
                return Text(
                    f"recording/{message.channel}", envelope("recording", message.model_dump_json(exclude={"object_key", "reason"}))
                )
            case _:
                return None

    def _channel_status(self, message: ChannelStatus) -> Text | None:
        if message.channel not in self._numbers:
            return None
        self._reported.setdefault(message.channel, {})[message.stream] = message
        return _status_text(self._status(message.channel, message.channel_number))

    def _status(self, channel: str, number: int) -> ChannelStatusAnswer:
        """What the main stream is doing; of the sub stream its trouble. Losses and reconnects are the sum of both."""
        streams = self._reported.get(channel, {})
        main, sub = streams.get(StreamKind.MAIN), streams.get(StreamKind.SUB)
        if main is None:
            return ChannelStatusAnswer(channel=channel, number=number, state="waiting")
        reason = main.reason
        if main.state is ChannelState.ONLINE and sub is not None and sub.state is ChannelState.OFFLINE:
            reason = f"sub stream: {sub.reason or 'offline'}"
        fields = main.model_dump(include=set(ChannelStatusAnswer.model_fields))
        fields |= {name: sum(getattr(each, name) for each in streams.values()) for name in _SUMS}
        fields |= {"number": number, "reason": self.clean(reason)}
        if main.state is ChannelState.ONLINE:
            fields["analysis_late_s"] = self._analysis_late_s(channel)
        return ChannelStatusAnswer(**fields)

    def _analysis_late_s(self, channel: str) -> float:
        """How far the newest boxes are behind the newest picture, seconds of the camera's clock."""
        frame_ns = self._frame_ns.get(channel)
        if frame_ns is None:
            return 0.0
        boxes_ns = max(self._boxes_ns.get(channel, 0), self._first_frame_ns[channel])
        return round(max(0, frame_ns - boxes_ns) / NS_PER_S, 1)

    def _count(self, message: EventMessage) -> Text | None:
        if message.channel not in self._numbers:
            return None
        text = envelope("counts", message.model_dump_json(include={"channel", "source", "at_ns", "counts"}))
        self._counts[(message.channel, message.source)] = text
        return Text(f"counts/{message.channel}/{message.source}", text)


def _status_text(status: ChannelStatusAnswer) -> Text:
    return Text(f"status/{status.channel}", envelope("status", status.model_dump_json()))
