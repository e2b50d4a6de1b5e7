"""One message of each topic, with every field set to something that is not its default."""

from __future__ import annotations

from typing import Any

from shared.domain.media import Picture, StreamKind, VideoCodec
from shared.domain.targets import TargetClass
from shared.messages import (
    ActionKind,
    ActionMessage,
    ActionPhase,
    AlarmMessage,
    AlarmState,
    BoxMessage,
    ChannelState,
    ChannelStatus,
    ConfigMessage,
    DeadLetter,
    DetectionsMessage,
    Discontinuity,
    EventKind,
    EventMessage,
    EventPhase,
    FrameMessage,
    Message,
    RecordingChange,
    RecordingMessage,
    SegmentMessage,
)

CHANNEL: dict[str, Any] = {"v": 1, "trace": "t-1", "channel": "gate", "channel_number": 7}
BOX = BoxMessage(track_id=12, target=TargetClass.HUMAN, score=0.875, x1=0.25, y1=0.5, x2=0.375, y2=0.75)
NS = 1_700_000_000_123_456_789

#: A real JPEG: one grey pixel block of 16x8, made once, so that the example does not depend on an encoder's version.
JPEG_HEX = (
    "ffd8ffe000104a46494600010100000100010000ffdb004300"
    + "10" * 64
    + "ffc0000b080008001001011100ffc4001f0000010501010101010100000000000000000102030405060708090a0bffda0008010100003f00"
    + "28a28a"
    + "ffd9"
)


def examples() -> dict[str, Message]:
    """By topic name."""
    return {
        "segments": SegmentMessage(
            **CHANNEL, device="north", stream=StreamKind.MAIN, segment_id="seg-1", session="s-1", sequence=3, start_ns=NS,
            end_ns=NS + 4_000_000_000, duration_ns=4_000_000_001, frames=100, key_frames=2, size_bytes=5, codec=VideoCodec.H265,
            width=1920, height=1080, audio_codec="aac", parameters="abc", cut=True, continues=True,
            discontinuity=Discontinuity.RECONNECT, sha256="00ff", payload=b"\x00mp4\xff",
        ),
        "frames": FrameMessage(
            **CHANNEL, session="s-1", sequence=9, capture_ns=NS, published_ns=NS + 1, source_width=640, source_height=360,
            picture=Picture(16, 8, jpeg=bytes.fromhex(JPEG_HEX)),
        ),
        "channel-status": ChannelStatus(
            **CHANNEL, device="north", stream=StreamKind.SUB, state=ChannelState.OFFLINE, reason="no route", error="CameraUnreachable",
            since_ns=NS, at_ns=NS + 5, codec="hevc", width=1920, height=1080, fps=25.0, bitrate_bps=4e6, reconnects=2, spool_bytes=3,
            spool_segments=1, dropped_frames=4, lost_segments=5,
        ),
        "detections": DetectionsMessage(
            **CHANNEL, capture_ns=NS, frame_sequence=9, motion=0.125, analysed=False, detect_ms=12.5, boxes=(BOX,)
        ),
        "events": EventMessage(
            **CHANNEL, event_id="ev-1", kind=EventKind.TRIPWIRE, source="door", phase=EventPhase.ENDED, start_ns=NS, at_ns=NS + 1,
            end_ns=NS + 1, target=TargetClass.HUMAN, track_id=12, score=0.875, box=BOX, direction="a_to_b", counts={"enter": 1},
            message="crossed",
        ),
        "alarms": AlarmMessage(
            **CHANNEL, alarm_id="al-1", event_id="ev-1", kind=EventKind.TRIPWIRE, source="door", state=AlarmState.ENDED, hits=2,
            start_ns=NS, at_ns=NS + 1, end_ns=NS + 1, target=TargetClass.HUMAN, track_id=12, box=BOX, direction="a_to_b",
            counts={"enter": 1}, message="crossed", snapshot_at_ns=NS, snapshot="gate/1.jpg", acknowledged_by="admin",
            acknowledged_ns=NS + 2, note="seen", sequence=41, revision=5,
        ),
        "actions": ActionMessage(
            **CHANNEL, action_id="ac-1", alarm_id="al-1", action=ActionKind.SNAPSHOT, phase=ActionPhase.DONE, at_ns=NS, from_ns=NS - 1,
            to_ns=NS + 1, object_key="gate/1.jpg", text="done", box=BOX,
        ),
        "recordings": RecordingMessage(
            **CHANNEL, recording_id="rec-1", stream=StreamKind.MAIN, change=RecordingChange.LOCKED, start_ns=NS, end_ns=NS + 60,
            size_bytes=30_000_000, object_key="north/gate/1.mp4", at_ns=NS + 61, reason="by admin",
        ),
        "dead-letters": DeadLetter(v=1, trace="t-1", origin="events/7/12", reason="not json", at_ns=NS, meta='{"a":1}', raw=b"\x00{"),
        "config": ConfigMessage(
            v=1, trace="t-1", number=7, version_id="id-7", at_ns=NS, format=2, text="site: {name: Farm}\n", note="new name", restores=3
        ),
    }  # fmt: skip
