"""What travels on the topics. One module per writer; `shared/topics.py` says which message belongs to which topic."""

from shared.messages.alarms import ActionKind, ActionMessage, ActionPhase, AlarmMessage, AlarmState
from shared.messages.analytics import BoxMessage, DetectionsMessage, EventKind, EventMessage, EventPhase
from shared.messages.base import ChannelMessage, Message
from shared.messages.config import ConfigMessage
from shared.messages.media import ChannelState, ChannelStatus, Discontinuity, FrameMessage, SegmentMessage, StreamFacts
from shared.messages.storage import DeadLetter, RecordingChange, RecordingMessage

__all__ = [
    "ActionKind",
    "ActionMessage",
    "ActionPhase",
    "AlarmMessage",
    "AlarmState",
    "BoxMessage",
    "ChannelMessage",
    "ChannelState",
    "ChannelStatus",
    "ConfigMessage",
    "DeadLetter",
    "DetectionsMessage",
    "Discontinuity",
    "EventKind",
    "EventMessage",
    "EventPhase",
    "FrameMessage",
    "Message",
    "RecordingChange",
    "RecordingMessage",
    "SegmentMessage",
    "StreamFacts",
]
