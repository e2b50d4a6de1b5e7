"""Messages of storage, and the envelope of what could not be handled."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from shared.domain.media import StreamKind
from shared.messages.base import ChannelMessage, Message, UtcNs


class RecordingChange(StrEnum):
    """What happened to a recording file."""

    STORED = "stored"
    LOCKED = "locked"
    UNLOCKED = "unlocked"
    DELETED = "deleted"


class RecordingMessage(ChannelMessage):
    """A change to one recording file."""

    recording_id: str
    stream: StreamKind
    change: RecordingChange
    start_ns: UtcNs
    end_ns: UtcNs
    size_bytes: int
    object_key: str
    at_ns: UtcNs
    reason: str = ""


class DeadLetter(Message):
    """What could not be read or handled, with the reason.

    Attributes:
        origin: topic, partition and offset it came from, as "topic/partition/offset".
        raw: its bytes.
        meta: JSON of its other fields, where the bytes are a payload (a segment, a picture).
    """

    payload_field: ClassVar[str | None] = "raw"

    origin: str
    reason: str
    at_ns: UtcNs
    meta: str = ""
    raw: bytes
