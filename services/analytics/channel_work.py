"""One channel as this worker knows it: its analysis, and what makes a frame that comes twice, a restart and a kill change nothing.

Order of writes for a frame that changes what must not be lost (an event, a total): state and messages to the disk, messages to the bus, the
frame's offset. Killed in between, the next start tells the messages again; their ids are the same, and who has them ignores them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from services.analytics import metrics
from services.analytics.adapters.batcher import Seen
from services.analytics.core.channel import ChannelAnalysis, Fired, Look
from services.analytics.core.events import event_message, track_message
from shared.config.rules import AnyRule, PeopleCountingRule
from shared.domain.clock import NS_PER_S
from shared.domain.targets import TrackedObject
from shared.faust.worker import Outgoing
from shared.media.pictures import luma
from shared.messages import DetectionsMessage, EventMessage, EventPhase, FrameMessage
from shared.topics import DETECTIONS, EVENTS

#: Results kept per channel, so that a frame that is delivered again gives the same messages and moves no state.
REMEMBERED_FRAMES = 64

#: After a channel was taken over, frames no older than this are handled although they are stale: enough for a worker that was killed to be
#: missed. Catching up takes no longer either: a worker that has too much to do must not stay behind for good.
CATCH_UP_NS = 60 * NS_PER_S

#: A capture time that goes back by no more than this is steered (docs/design/time.md); by more, a clock was set back.
SET_BACK_NS = 1 * NS_PER_S

#: Sessions remembered per channel: more than a camera can have within what is read again.
REMEMBERED_SESSIONS = 64

Out: TypeAlias = list[Outgoing[Any]]


class ChannelWork:
    """The state of one channel. `look`, `finish`, `configure` and `interrupt` are for one thread at a time: who calls them holds `lock`."""

    def __init__(self, channel: str, number: int, analysis: ChannelAnalysis, now_ns: int) -> None:
        """`now_ns`: monotonic."""
        self.id, self.number, self.analysis = channel, number, analysis
        self.lock = asyncio.Lock()
        #: Monotonic: when a frame was analysed last, or the channel was taken up.
        self.handled_ns = now_ns
        self.silent = False
        #: Something is not on the disk; `urgent`: something that must be there before it is told.
        self.dirty = self.urgent = False
        #: A frame was handled since the last save, at `saved_ns` (monotonic).
        self.unsaved, self.saved_ns = False, now_ns
        #: Of the claim with which it is held.
        self.generation = 0
        #: Monotonic: until when frames are handled that have waited while nobody had the channel; 0: none are.
        self.catches_up_until_ns = 0
        #: When ingest published the last frame that was handled, UTC.
        self.published_ns = 0
        #: Its state was taken from the store, and no newer frame was handled yet.
        self.unread = False
        self._results: OrderedDict[tuple[str, int], Out] = OrderedDict()
        self._last: tuple[str, int] | None = None
        self._sessions: list[str] = []  # in the order in which they came
        self._looked: tuple[tuple[str, int], Look] | None = None
        self._waiting: list[EventMessage] = []  # of no frame: they go with the next one, or by themselves
        self._told: list[EventMessage] = []  # of the last frame that was saved

    # -- frames

    def known(self, frame: FrameMessage, monotonic_ns: int) -> Out | None:
        """What came of this frame when it was here before; None when it is new. Every frame that comes is asked for."""
        if frame.session not in self._sessions:
            self._sessions = [*self._sessions, frame.session][-REMEMBERED_SESSIONS:]
        again = self._results.get((frame.session, frame.sequence))
        if again is None and self._last is not None:
            if self._last[0] == frame.session and frame.sequence <= self._last[1]:
                return []  # before a restart, which has told it again
            if monotonic_ns < self.catches_up_until_ns and self._is_over(frame.session):
                return []  # read again for the sake of others: the state that was taken over is newer
        return again

    def _is_over(self, session: str) -> bool:
        """Whether it came before the session of the last frame that was handled. No time tells that: clocks are set back."""
        assert self._last is not None
        last = self._last[0]
        return last in self._sessions and self._sessions.index(session) < self._sessions.index(last)

    def too_old(self, frame: FrameMessage, now_ns: int, monotonic_ns: int, limit_ns: int) -> bool:
        """Whether a frame tells of nothing that still helps. What has waited while the channel had no worker is caught up with first.

        Args:
            now_ns: by the clock that stamped the frame, as far as it is known.
        """
        age_ns = now_ns - frame.published_ns
        if age_ns <= limit_ns:
            self.catches_up_until_ns = 0
            return False
        return monotonic_ns >= self.catches_up_until_ns or age_ns > CATCH_UP_NS

    def look(self, frame: FrameMessage) -> Look:
        """The motion stage, once per frame: who was cancelled between here and `finish` comes again.

        Raises:
            ValueError: the picture is damaged.
        """
        key = (frame.session, frame.sequence)
        if self._looked is not None and self._looked[0] == key:
            return self._looked[1]
        grey = luma(frame.picture)
        time_ns = max(frame.capture_ns, self.analysis.time_ns + 1)  # while it is steered back, time stands still
        if time_ns - frame.capture_ns > SET_BACK_NS:
            self.interrupt()
            time_ns = frame.capture_ns
        self._looked = (key, self.analysis.look(grey, time_ns))
        return self._looked[1]

    def finish(self, frame: FrameMessage, look: Look, seen: Seen | None) -> Out:
        """Tracker and rules; the messages of this frame, which it remembers."""
        tracks, fired = self.analysis.finish(look, seen.detections if seen is not None else None)
        metrics.TRACKS.labels(self.id).set(len(tracks))
        events = [*self.take_waiting(), *self._events(fired, frame.trace)]
        out: Out = [Outgoing(DETECTIONS, _detections(frame, look, tracks, seen)), *(Outgoing(EVENTS, event) for event in events)]
        self.published_ns, self.unsaved, self.unread = frame.published_ns, True, False
        self.dirty |= bool(tracks)  # someone may be in the middle of something
        self._last, self._told = (frame.session, frame.sequence), events
        self._results[self._last] = out
        if len(self._results) > REMEMBERED_FRAMES:
            self._results.popitem(last=False)
        return out

    # -- what happens without a frame

    def configure(self, rules: Sequence[AnyRule], zone: ZoneInfo) -> None:
        """Take these rules; what rules had open that are no longer there ends."""
        self._waiting += self._events(self.analysis.configure(rules, zone))

    def interrupt(self) -> None:
        """End what lasts only while someone looks."""
        self._waiting += self._events(self.analysis.interrupt())

    @property
    def waits(self) -> bool:
        """Whether it has events to tell."""
        return bool(self._waiting)

    def take_waiting(self) -> list[EventMessage]:
        """Events of no frame, to be published now."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def put_back(self, events: Sequence[EventMessage]) -> None:
        """They could not be published."""
        self._waiting = [*events, *self._waiting]

    def _events(self, fired: Sequence[Fired], trace: str = "") -> list[EventMessage]:
        for one in fired:
            self.dirty = True
            # An update of a stay may be lost in a crash; a total may not, nor a beginning or an end.
            self.urgent |= one.event.phase is not EventPhase.UPDATED or isinstance(one.rule, PeopleCountingRule)
            if one.event.phase is EventPhase.STARTED:
                metrics.EVENTS.labels(self.id, one.rule.id).inc()
        return [event_message(self.id, self.number, one.rule, one.event, trace=trace) for one in fired]

    # -- over a restart

    def export(self) -> dict[str, Any]:
        """All of it as a plain value."""
        return self.analysis.export() | {
            "channel_number": self.number,
            "frame": self._last,
            "sessions": self._sessions,
            "published_ns": self.published_ns,
            "told": [event.model_dump(mode="json") for event in (*self._told, *self._waiting)],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `export` was called; after `configure`.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: no such state.
        """
        told = [EventMessage.model_validate(event) for event in state.get("told", ())]
        frame = state.get("frame")
        last = (str(frame[0]), int(frame[1])) if frame is not None else None
        self.analysis.restore(state)
        self._waiting, self._last, self.published_ns = told, last, int(state.get("published_ns", 0))
        self._sessions = [str(session) for session in state.get("sessions", [last[0]] if last is not None else [])]
        self.unread = True


def _detections(frame: FrameMessage, look: Look, tracks: Sequence[TrackedObject], seen: Seen | None) -> DetectionsMessage:
    return DetectionsMessage(
        channel=frame.channel,
        channel_number=frame.channel_number,
        trace=frame.trace,
        capture_ns=frame.capture_ns,
        frame_sequence=frame.sequence,
        motion=round(look.motion.share, 5),
        analysed=seen is not None,
        detect_ms=round(seen.seconds * 1000, 2) if seen is not None else 0.0,
        boxes=tuple(track_message(track) for track in tracks),
    )
