"""The numbered invariants of a store (docs/design/segment-lifecycle.md), as questions to what was found. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.storage.core.model import Recording, State, StoredSegment
from services.storage.core.mp4 import fragments, parse_header


class Invariant(StrEnum):
    """Each with what it says."""

    S1 = "every catalogued byte exists"
    S2 = "every uploaded recording has its object"
    S3 = "no bytes without a row"
    S4 = "segments are catalogued once and lie end to end"
    S5 = "a recording is the sum of its segments"
    S6 = "segments are whole fragments with the catalogued frames"
    S7 = "no two recordings share an object key"
    S8 = "nothing is half written or half deleted"
    S9 = "a locked recording is not being deleted"
    S10 = "the lock of a recording is that of its object"


@dataclass(frozen=True, slots=True)
class Problem:
    """An invariant that does not hold. `where`: a recording, key or file; `what`: a sentence.

    `repairable`: the recorder was cut off, nothing is lost, and its next start repairs it.
    """

    invariant: Invariant
    where: str
    what: str
    repairable: bool = False

    def __str__(self) -> str:
        return f"{self.invariant.name} ({self.invariant.value}): {self.where}: {self.what}"


def check_rows(recording: Recording, segments: Sequence[StoredSegment]) -> Iterable[Problem]:
    """S4, S5, S8 and S9 of one recording; `segments` in order."""
    where = recording.id
    if recording.state is State.OPEN:
        yield Problem(Invariant.S8, where, "the recorder was cut off while it wrote this file; what is stored of it is kept", True)
    if recording.state is State.DELETING:
        yield Problem(Invariant.S8, where, "the recorder was cut off while it deleted this recording", True)
    if recording.locked and recording.state is State.DELETING:
        yield Problem(Invariant.S9, where, "it is locked and being deleted")
    if recording.state is State.DELETING:
        return
    if not segments:
        yield Problem(Invariant.S5, where, "it has no segments", repairable=recording.state is State.OPEN)
        return
    at = recording.header_bytes
    for ordinal, segment in enumerate(segments):
        if segment.ordinal != ordinal or segment.offset != at:
            yield Problem(Invariant.S4, where, f"segment {segment.ordinal} lies at {segment.offset}, not at {at}")
        at = segment.end
    if recording.state is State.OPEN and at != recording.size_bytes:
        yield Problem(Invariant.S5, where, f"its segments end at {at}, it at {recording.size_bytes} bytes")
    if at > recording.size_bytes:
        yield Problem(Invariant.S5, where, f"its segments end at {at}, beyond its {recording.size_bytes} bytes")
    frames = sum(segment.frames for segment in segments)
    if frames != recording.frames:
        yield Problem(Invariant.S5, where, f"its segments have {frames} frames, it {recording.frames}")
    hull = (segments[0].start_ns, max(segment.end_ns for segment in segments))
    if hull != (recording.start_ns, recording.end_ns):
        yield Problem(Invariant.S5, where, "its times are not those of its segments")


def check_keys(recordings: Iterable[Recording]) -> Iterable[Problem]:
    """S7."""
    for key, count in Counter(recording.object_key for recording in recordings).items():
        if count > 1:
            yield Problem(Invariant.S7, key, f"{count} recordings have it")


def check_bytes(recording: Recording, segments: Sequence[StoredSegment], data: bytes) -> Iterable[Problem]:
    """S6 of one file, given all of its bytes.

    Raises:
        Mp4Error: the bytes are no fragmented MP4 at all.
    """
    header = parse_header(data)
    video = header.video.track_id
    last: dict[int, int] = {}
    for segment in segments:
        frames, at = 0, segment.offset
        for fragment in fragments(memoryview(data)[: segment.end], header, segment.offset):
            if fragment.start != at:
                yield Problem(Invariant.S6, recording.id, f"something else than a fragment lies at {at}")
            at = fragment.end
            for run in fragment.runs:
                if run.decode_time < last.get(run.track_id, 0):
                    yield Problem(Invariant.S6, recording.id, f"decode times of track {run.track_id} go back at {fragment.start}")
                last[run.track_id] = run.decode_time + run.duration
                frames += run.samples if run.track_id == video else 0
        if at != segment.end:
            yield Problem(Invariant.S6, recording.id, f"segment {segment.ordinal} is not whole")
        if frames != segment.frames:
            yield Problem(Invariant.S6, recording.id, f"segment {segment.ordinal} has {frames} frames, catalogued are {segment.frames}")
