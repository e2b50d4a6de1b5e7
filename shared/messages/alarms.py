"""Messages of the alarm service: the life of alarms, linkage commands and their results."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from shared.domain.targets import TargetClass
from shared.messages.analytics import BoxMessage, EventKind
from shared.messages.base import ChannelMessage, UtcNs


class AlarmState(StrEnum):
    """Life of an alarm (services/alarms/core/lifecycle.py holds the table of transitions)."""

    RAISED = "raised"
    UPDATED = "updated"
    ENDED = "ended"


class AlarmMessage(ChannelMessage):
    """One alarm record after a change.

    Attributes:
        alarm_id: deterministic: of the first event that raised it.
        event_id: the latest event that hit it.
        kind, source: as of the event.
        hits: events that anti-dither merged into this record, the first included.
        start_ns, end_ns: end_ns is None while it lasts.
        at_ns: of its latest change; it never goes back, but may stand still.
        snapshot_at_ns: the capture time that its snapshot shows. `snapshot`: object key once stored, else empty.
        acknowledged_by: user, or empty.
        sequence: the order in which the alarms of a site were raised: the later one has the higher number, whatever the clock was set to.
        revision: of two versions the one with the higher number is the later one. 0 of both: written before they were counted.
    """

    alarm_id: str
    event_id: str
    kind: EventKind
    source: str
    state: AlarmState
    hits: int = Field(ge=1)
    start_ns: UtcNs
    at_ns: UtcNs
    end_ns: UtcNs | None = None
    target: TargetClass | None = None
    track_id: int | None = None
    box: BoxMessage | None = None
    direction: str = ""
    counts: dict[str, int] = Field(default_factory=dict)
    message: str = ""
    snapshot_at_ns: int = 0
    snapshot: str = ""
    acknowledged_by: str = ""
    acknowledged_ns: int | None = None
    note: str = ""
    sequence: int = Field(default=0, ge=0)
    revision: int = Field(default=0, ge=0)


class ActionKind(StrEnum):
    """Linkage actions that another service carries out, or consoles show."""

    RECORD = "record"  # storage: protect pre/post footage as alarm footage
    SNAPSHOT = "snapshot"  # storage: a full-resolution picture from the recorded main stream
    SHOW_MESSAGE = "show_message"  # consoles: a live notice


class ActionPhase(StrEnum):
    """A command and what became of it."""

    REQUESTED = "requested"
    DONE = "done"
    FAILED = "failed"


class ActionMessage(ChannelMessage):
    """A linkage command of an alarm (phase requested) or its result (done, failed).

    Attributes:
        action_id: deterministic: (alarm, kind, target channel). A repeated request with the same id and a later `to_ns`
            extends it (a recording span while the alarm lasts).
        from_ns, to_ns: of RECORD: the span to keep as alarm footage, pre- and post-record included.
        at_ns: of SNAPSHOT: the capture time to show. Of SHOW_MESSAGE: now.
        object_key: of SNAPSHOT: where the JPEG is to be (empty: storage chooses), and, once done, where it is.
        text: of SHOW_MESSAGE: the notice. Of failed: the reason, for people, without secrets.
    """

    action_id: str
    alarm_id: str
    action: ActionKind
    phase: ActionPhase
    at_ns: UtcNs
    from_ns: int | None = None
    to_ns: int | None = None
    object_key: str = ""
    text: str = ""
    box: BoxMessage | None = None
