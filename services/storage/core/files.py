"""When a segment goes on in the file of the one before it, and when it begins a new one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.storage.core.model import Kind
from shared.domain.clock import NS_PER_S, seconds_to_ns
from shared.messages import Discontinuity

#: A segment that begins further than this off the end of the file does not continue it: clock steering is at most 1 % of a segment.
TOLERANCE_NS = NS_PER_S // 2
#: A cut group of pictures keeps to its file, up to this many times the aimed length.
CONTINUES_LIMIT = 2.0
#: Aimed length of provisional files, seconds: what pre-record footage is kept and dropped by.
PROVISIONAL_S = 10.0


class Cut(StrEnum):
    """Why a new file begins."""

    FIRST = "first"
    LENGTH = "length"
    PARAMETERS = "parameters"
    DISCONTINUITY = "discontinuity"
    SEQUENCE = "sequence"
    TIME = "time"
    KIND = "kind"


@dataclass(frozen=True, slots=True)
class FileSoFar:
    """What matters of the file that is being written."""

    start_ns: int
    end_ns: int
    parameters: str
    session: str
    last_sequence: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class NextSegment:
    """What matters of the segment to place."""

    start_ns: int
    end_ns: int
    parameters: str
    session: str
    sequence: int
    discontinuity: Discontinuity
    continues: bool
    kind: Kind


def cut(file: FileSoFar | None, segment: NextSegment, file_s: float) -> Cut | None:
    """Why `segment` must begin a new file, or None when it goes on in `file`.

    Args:
        file_s: aimed length of a file; one is ended at the first key frame at which the next segment would go beyond it.
    """
    if file is None:
        return Cut.FIRST
    breaks = {
        Cut.PARAMETERS: segment.parameters != file.parameters,
        Cut.DISCONTINUITY: segment.discontinuity is not Discontinuity.NONE,
        Cut.SEQUENCE: segment.session != file.session or segment.sequence != file.last_sequence + 1,
        Cut.TIME: abs(segment.start_ns - file.end_ns) > TOLERANCE_NS,
    }
    broken = next((why for why, holds in breaks.items() if holds), None)
    return broken or _at_length(file, segment, file_s)


def _at_length(file: FileSoFar, segment: NextSegment, file_s: float) -> Cut | None:
    """Whether a file that the segment could go on in is to end here all the same."""
    provisional = Kind.PROVISIONAL in (file.kind, segment.kind)
    limit_ns = seconds_to_ns(min(PROVISIONAL_S, file_s) if provisional else file_s)
    if segment.continues:
        too_long = segment.end_ns - file.start_ns > CONTINUES_LIMIT * limit_ns
        return Cut.LENGTH if too_long else None
    if provisional and file.kind is not segment.kind:
        return Cut.KIND
    # Half of the segment may stick out, so that a file of 60 s is not cut at 56 for a segment of 4.01 s.
    middle_ns = (segment.start_ns + segment.end_ns) // 2
    return Cut.LENGTH if middle_ns - file.start_ns > limit_ns else None
