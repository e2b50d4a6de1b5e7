"""One alarm record, as the cores and the alarm book hold it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from services.alarms.core.lifecycle import Trigger, after
from shared.domain.targets import TargetClass
from shared.messages import AlarmMessage, AlarmState, BoxMessage, EventKind


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm. Times are UTC nanoseconds.

    Attributes:
        alarm_id, event_id, kind, source, state, hits, start_ns, at_ns, end_ns, target, track_id, box, direction, counts, message,
        snapshot_at_ns, snapshot, acknowledged_by, acknowledged_ns, note: as of `AlarmMessage`.
        last_ns: capture time of the latest sign of its events: what anti-dither measures from, and its end when it ends.
        handled_ns: this machine's time when that sign was handled: what the end of the period is waited from, so that a camera with a
            wrong clock has alarms that end all the same.
        period_ns: the anti-dither period that it was raised with.
        live: ids of its events that go on.
        recorded_to_ns: up to where footage was asked to be kept; 0: none was.
        trace: of the frame that raised it.
        sequence, revision: as of `AlarmMessage`, of the version that was read from the book. The book counts them; they are no part of what
            a version says, and two that say the same are equal.
    """

    alarm_id: str
    event_id: str
    channel: str
    channel_number: int
    kind: EventKind
    source: str
    state: AlarmState
    hits: int
    start_ns: int
    at_ns: int
    last_ns: int
    handled_ns: int
    period_ns: int
    live: frozenset[str] = frozenset()
    end_ns: int | None = None
    recorded_to_ns: int = 0
    target: TargetClass | None = None
    track_id: int | None = None
    box: BoxMessage | None = None
    direction: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    message: str = ""
    snapshot_at_ns: int = 0
    snapshot: str = ""
    acknowledged_by: str = ""
    acknowledged_ns: int | None = None
    note: str = ""
    trace: str = ""
    sequence: int = field(default=0, compare=False)
    revision: int = field(default=0, compare=False)

    def acknowledged(self, user: str, note: str, now_ns: int) -> Alarm:
        """After `user` has seen it. The first acknowledgement stays."""
        if self.acknowledged_by:
            return self
        state = after(self.state, Trigger.ACKNOWLEDGED)
        return replace(self, state=state, at_ns=max(self.at_ns, now_ns), acknowledged_by=user, acknowledged_ns=now_ns, note=note)

    def pictured(self, object_key: str, *, own_channel: bool, now_ns: int) -> Alarm:
        """After a snapshot was stored. The alarm's own channel is shown before any other; the same again changes nothing."""
        if self.snapshot == object_key or (self.snapshot and not own_channel):
            return self
        return replace(self, state=after(self.state, Trigger.PICTURED), at_ns=max(self.at_ns, now_ns), snapshot=object_key)

    def as_message(self) -> AlarmMessage:
        """What travels on the alarms topic."""
        return AlarmMessage(
            channel=self.channel,
            channel_number=self.channel_number,
            alarm_id=self.alarm_id,
            event_id=self.event_id,
            kind=self.kind,
            source=self.source,
            state=self.state,
            hits=self.hits,
            start_ns=self.start_ns,
            at_ns=self.at_ns,
            end_ns=self.end_ns,
            target=self.target,
            track_id=self.track_id,
            box=self.box,
            direction=self.direction,
            counts=self.counts,
            message=self.message,
            snapshot_at_ns=self.snapshot_at_ns,
            snapshot=self.snapshot,
            acknowledged_by=self.acknowledged_by,
            acknowledged_ns=self.acknowledged_ns,
            note=self.note,
            trace=self.trace,
            sequence=self.sequence,
            revision=self.revision,
        )
