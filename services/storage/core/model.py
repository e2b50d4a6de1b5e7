"""What the catalogue holds, as values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from shared.domain.clock import NS_PER_S
from shared.domain.ids import deterministic_id


class State(StrEnum):
    """Where a recording's bytes are (docs/design/segment-lifecycle.md)."""

    OPEN = "open"
    CLOSED = "closed"
    UPLOADED = "uploaded"
    DELETING = "deleting"


class Kind(StrEnum):
    """Why a recording is kept. PROVISIONAL: pre-record footage that is deleted unless an alarm claims it."""

    GENERAL = "general"
    ALARM = "alarm"
    PROVISIONAL = "provisional"


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording file. Times UTC; `header_bytes`: where its first fragment begins; `sha256`: of the closed file.

    `bucket`: that of its storage group; empty: the one of everything that names no group (`storage.bucket`).
    """

    id: str
    device: str
    channel: str
    channel_number: int
    stream: str
    start_ns: int
    end_ns: int
    size_bytes: int
    frames: int
    codec: str
    width: int
    height: int
    audio_codec: str
    parameters: str
    kind: Kind
    state: State
    locked: bool
    object_key: str
    header_bytes: int
    sha256: str = ""
    bucket: str = ""


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """One segment within a recording file: bytes `offset` to `offset + size_bytes`; `ordinal` from 0.

    `base_ticks`, `duration_ticks`: its place in the file on the video track, in that track's ticks.
    """

    id: str
    recording_id: str
    ordinal: int
    offset: int
    size_bytes: int
    start_ns: int
    end_ns: int
    frames: int
    key_frames: int
    base_ticks: int
    duration_ticks: int
    session: str
    sequence: int

    @property
    def end(self) -> int:
        """Offset of the first byte after it."""
        return self.offset + self.size_bytes


@dataclass(frozen=True, slots=True)
class Span:
    """Footage of a channel, `from_ns` to `to_ns`, that an action marked as alarm footage."""

    action_id: str
    channel: str
    from_ns: int
    to_ns: int


_SNAPSHOT_KEY = re.compile(r"^[a-z0-9_-]+/([a-z0-9_-]+)/(\d{4})/(\d\d)/(\d\d)/(?:\d\d/(\d{1,19})-)?[A-Za-z0-9-]+\.jpg$")


def recording_id(first_segment_id: str) -> str:
    """A file is named after its first segment, so that storing it again makes the same name."""
    return deterministic_id("recording", first_segment_id)


def object_key(device: str, channel: str, stream: str, start_ns: int, *, suffix: str = "") -> str:
    """`<device>/<channel>/YYYY/MM/DD/HH/<start_ns>.mp4` (UTC); other streams than the main one and repeated times get a suffix."""
    hour = datetime.fromtimestamp(start_ns // NS_PER_S, UTC).strftime("%Y/%m/%d/%H")
    name = str(start_ns) + ("" if stream == "main" else f"-{stream}") + (f"-{suffix}" if suffix else "")
    return f"{device}/{channel}/{hour}/{name}.mp4"


def snapshot_key(device: str, channel: str, at_ns: int, action_id: str) -> str:
    """`<device>/<channel>/YYYY/MM/DD/HH/<at_ns>-<action>.jpg` (UTC): of a snapshot whose command names no key."""
    hour = datetime.fromtimestamp(at_ns // NS_PER_S, UTC).strftime("%Y/%m/%d/%H")
    return f"{device}/{channel}/{hour}/{at_ns}-{action_id[:8]}.jpg"


def snapshot_of_key(key: str) -> tuple[str, int] | None:
    """Channel and time (the day's begin, UTC, where the key says no more) of a snapshot; None: not a key of one."""
    found = _SNAPSHOT_KEY.match(key)
    if found is None:
        return None
    if found[5] is not None:
        return found[1], int(found[5])
    try:
        day = datetime(int(found[2]), int(found[3]), int(found[4]), tzinfo=UTC)
    except ValueError:
        return None
    return found[1], int(day.timestamp()) * NS_PER_S
