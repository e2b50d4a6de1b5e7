"""A camera that is offline is an exception of its channel: when it begins, goes on and ends. Pure: judged by what its status says."""

from __future__ import annotations

from shared.domain.clock import NS_PER_S
from shared.domain.ids import deterministic_id
from shared.messages import EventKind, EventMessage, EventPhase
from shared.messages.media import ChannelState, ChannelStatus

SOURCE = "camera.offline"
#: While it lasts it is said again this often, so that it is not taken for lost.
REMIND_NS = 60 * NS_PER_S


def judge(status: ChannelStatus, known: EventMessage | None, offline_after_ns: int, said_ns: int | None = None) -> EventMessage | None:
    """What a status says of the camera's absence that is not known; None: nothing.

    Connecting is neither online nor offline: it begins nothing, and ends nothing. A switched-off channel is not missed.

    Args:
        known: the channel's absence that has not ended, after its latest message; None: there is none.
        offline_after_ns: a camera that is away for less is not told.
        said_ns: time of the status that `known` was told from; None: not known, as after a restart. The time of `known` itself may be ahead
            of it, when the clock was set back.
    """
    if status.state in (ChannelState.ONLINE, ChannelState.DISABLED):
        return None if known is None else _event(status, EventPhase.ENDED, known)
    if status.state is not ChannelState.OFFLINE:
        return None
    if known is not None:
        since_said_ns = status.at_ns - (known.at_ns if said_ns is None else said_ns)
        return _event(status, EventPhase.UPDATED, known) if abs(since_said_ns) >= REMIND_NS else None
    return _event(status, EventPhase.STARTED, None) if status.at_ns - status.since_ns >= offline_after_ns else None


def _event(status: ChannelStatus, phase: EventPhase, known: EventMessage | None) -> EventMessage:
    """An absence is known by when it began: the same status, judged twice, gives the same event."""
    start_ns = status.since_ns if known is None else known.start_ns
    reason = f": {status.reason}" if status.reason else ""
    ended = phase is EventPhase.ENDED
    return EventMessage(
        channel=status.channel,
        channel_number=status.channel_number,
        event_id=deterministic_id(SOURCE, status.channel, start_ns) if known is None else known.event_id,
        kind=EventKind.EXCEPTION,
        source=SOURCE,
        phase=phase,
        start_ns=start_ns,
        at_ns=max(status.at_ns, start_ns) if known is None else max(status.at_ns, known.at_ns + 1),  # later, or it is no news
        end_ns=max(status.since_ns, start_ns) if ended else None,
        message="" if ended else f"the camera is offline{reason}",
    )
