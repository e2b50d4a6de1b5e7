"""Whether the footage that a command wants may still be under way. Pure (docs/design/time.md, "When our clock is set back").

A capture time alone does not tell: after the clock was set back, what is stored next is older than what is stored already. What was stored
*last* tells, and how long was waited on the monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from services.storage.core.files import TOLERANCE_NS
from services.storage.core.model import StoredSegment
from shared.domain.clock import NS_PER_S

#: How long footage may be under way (spool, outage of the bus) before a command fails.
PATIENCE_NS = 300 * NS_PER_S
#: A camera that is away sends nothing more: with newer footage missing for this long, what there is must do.
SETTLED_NS = 20 * NS_PER_S
#: Footage cannot be newer than now, but for what cameras' clocks are off. Newer than this: our clock was set back since.
AHEAD_NS = 5 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Head:
    """The footage of a channel that was stored last: its end, and the session it came in (empty: not known)."""

    end_ns: int
    session: str = ""


class Verdict(Enum):
    """What to do about a command."""

    WAIT = auto()
    TRY = auto()  # what cannot be found now may come yet
    PASSED = auto()  # footage of a later time is stored: what is not here now does not come
    LATE = auto()  # it has been waited for long enough


def verdict(head: Head | None, until_ns: int, now_ns: int, waited_ns: int) -> Verdict:
    """Whether footage up to `until_ns` is here, or may be.

    Args:
        head: None: no footage of the channel is stored.
        waited_ns: monotonic, since the command had come and its time was over.
    """
    if waited_ns > PATIENCE_NS:
        return Verdict.LATE
    if head is not None and until_ns < head.end_ns <= now_ns + AHEAD_NS:
        return Verdict.PASSED
    return Verdict.TRY if head is not None and waited_ns > SETTLED_NS else Verdict.WAIT


def overtaken(segment: StoredSegment, others: Iterable[StoredSegment], session: str) -> bool:
    """Whether footage of the same time was stored again later: our clock was set back in between, and this is of the first time.

    Args:
        session: the one that is recorded now; of segments of two other sessions nobody knows which was first.
    """
    for other in others:
        later = other.sequence > segment.sequence if other.session == segment.session else other.session == session
        if later and min(segment.end_ns, other.end_ns) - max(segment.start_ns, other.start_ns) > TOLERANCE_NS:
            return True
    return False
