"""What waits for one browser: bounded, and the newest wins, so that a slow browser sees less, never later, and delays nobody.

Three kinds: *states* (a channel's status, its boxes, a count, an alarm record) are kept by key, a newer one replaces an older one;
*notices* are kept in order; *pictures* one per channel. Pictures wait for credit: the page says how many it has drawn, so
that nothing piles up in socket buffers either.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

from shared.domain.clock import NS_PER_S


@dataclass(frozen=True, slots=True)
class LivePicture:
    """One encoded picture. `wire` is the whole binary message (see `pack_picture`)."""

    channel: str
    capture_ns: int
    sequence: int
    wire: bytes


def pack_picture(channel: str, capture_ns: int, sequence: int, jpeg: bytes) -> bytes:
    """The binary message of a picture: version (1 byte, 1), length of the channel id (1 byte), capture_ns and sequence (8 bytes
    each, big-endian), the channel id (UTF-8), JPEG bytes."""
    name = channel.encode()
    return b"".join((b"\x01", bytes([len(name)]), capture_ns.to_bytes(8, "big"), sequence.to_bytes(8, "big"), name, jpeg))


class Outbox:
    """The waiting room of one browser. Times are monotonic nanoseconds."""

    def __init__(self, *, max_states: int = 1024, max_notices: int = 64) -> None:
        self._max_states = max_states
        self._lost: str | None = None
        self._states: OrderedDict[str, str] = OrderedDict()
        self._notices: deque[str] = deque(maxlen=max_notices)
        self._pictures: OrderedDict[str, LivePicture] = OrderedDict()
        self._interval_ns: dict[str, int] = {}
        self._due_ns: dict[str, int] = {}
        self._window: int | None = None
        self._under_way = 0
        self.dropped_pictures = 0
        self.dropped_states = 0

    @property
    def channels(self) -> frozenset[str]:
        """The channels whose pictures this browser asked for."""
        return frozenset(self._interval_ns)

    def subscribe(self, channels: dict[str, float], window: int | None) -> None:
        """Ask for pictures: channel -> at most so many a second.

        `window`: pictures that may be under way and not yet drawn, those that were asked for before included; None: no limit.
        """
        self._interval_ns = {channel: round(NS_PER_S / fps) for channel, fps in channels.items()}
        self._due_ns = {channel: due for channel, due in self._due_ns.items() if channel in self._interval_ns}
        for channel in [channel for channel in self._pictures if channel not in self._interval_ns]:
            del self._pictures[channel]
        if self._window is None:  # what was sent without a limit is not said to be drawn
            self._under_way = 0
        self._window = window

    def drawn(self, count: int) -> None:
        """The page has drawn (or dropped) `count` pictures."""
        self._under_way = max(0, self._under_way - count)

    def wants(self, channel: str, now_ns: int) -> bool:
        """Whether a picture of the channel that is there now would be taken."""
        return channel in self._interval_ns and now_ns >= self._due_ns.get(channel, 0)

    def put_picture(self, picture: LivePicture, now_ns: int) -> bool:
        """Keep the newest picture of its channel; False when the browser does not want it now."""
        if not self.wants(picture.channel, now_ns):
            return False
        interval_ns = self._interval_ns[picture.channel]
        # A tenth of tolerance: frames that come a little early at the asked rate are not halved by jitter.
        self._due_ns[picture.channel] = now_ns + interval_ns * 9 // 10
        if self._pictures.pop(picture.channel, None) is not None:
            self.dropped_pictures += 1
        self._pictures[picture.channel] = picture
        return True

    def put_state(self, key: str, text: str) -> None:
        """Keep the newest text of `key`; beyond the bound the oldest goes and is counted (the page is told to fetch again)."""
        self._states.pop(key, None)
        self._states[key] = text
        while len(self._states) > self._max_states:
            self._states.popitem(last=False)
            self.dropped_states += 1

    def put_lost(self, text: str) -> None:
        """Tell that something was lost, once for all that was lost until it is told."""
        self._lost = text

    def put_notice(self, text: str) -> None:
        """Keep a notice, in order; beyond the bound the oldest goes."""
        self._notices.append(text)

    def take(self) -> str | LivePicture | None:
        """What goes next: what was lost, notices, states, pictures as far as the window goes, the longest waiting first; None: nothing."""
        if (lost := self._lost) is not None:
            self._lost = None
            return lost
        if self._notices:
            return self._notices.popleft()
        if self._states:
            return self._states.popitem(last=False)[1]
        if self._pictures and (self._window is None or self._under_way < self._window):
            self._under_way += 1
            return self._pictures.popitem(last=False)[1]
        return None
