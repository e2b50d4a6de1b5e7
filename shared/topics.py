"""Every topic, declared once: name, message, partitions, retention, who writes, who reads. `docs/topics.md` is made from this."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from shared.domain.clock import NS_PER_S
from shared.messages import (
    ActionMessage,
    AlarmMessage,
    ChannelMessage,
    ChannelStatus,
    ConfigMessage,
    DeadLetter,
    DetectionsMessage,
    EventMessage,
    FrameMessage,
    Message,
    RecordingMessage,
    SegmentMessage,
)

M = TypeVar("M", bound=Message)

MIB = 1024 * 1024
MINUTE_NS = 60 * NS_PER_S
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS

#: Partitions of every topic that is keyed by channel. Equal everywhere, so that a channel keeps its partition number along
#: the whole flow. Fixed for the life of a site: adding partitions breaks the order per channel.
CHANNEL_PARTITIONS = 24


class OnFull(StrEnum):
    """What a bounded embedded topic does when a consumer group is behind by its whole capacity."""

    BLOCK = "block"  # the writer waits: nothing is lost
    DROP_OLDEST = "drop_oldest"  # the reader skips: stale live data, counted


@dataclass(frozen=True, slots=True)
class Topic(Generic[M]):
    """One topic.

    Attributes:
        name: on the broker.
        message: the model of its values.
        partitions: how many; a channel's messages go to partition `channel_number % partitions`, others to 0.
        retention_ns: how long the broker keeps messages.
        retention_bytes: per partition; None: by time alone.
        max_message_bytes: the largest value.
        max_wait_ms: how long a reader's request waits at the broker while nothing comes; every request costs both of them CPU. A message
            may be that late: at 500 the 99th percentile of latency was 251 ms, at 20 it is 13 ms.
        writers, readers: services.
        durable_by: consumer groups that make a message durable by handling it. On the embedded bus, which is memory, a publish
            to such a topic is acknowledged when each of them has committed it; on Kafka the broker's acks=all does it.
        capacity, capacity_bytes: of the embedded log, per partition: messages and payload bytes not yet read by the slowest group.
        on_full: what the embedded log does then.
        kept: the embedded log keeps the topic in files, as a broker would: messages and commits survive a restart, readers do not make
            messages leave. `capacity` and `capacity_bytes` bound the files; then, and after `retention_ns`, the oldest are dropped.
        brokers_time: on Kafka a message has the time at which the broker stored it, so that how long it is kept goes by one clock, and a
            publisher's may be wrong. False: the time at which it was published, by its publisher's clock, to be looked up by that.
        compacted: the broker keeps the newest message of every key for good; `retention_ns` says nothing then.
    """

    name: str
    message: type[M]
    partitions: int
    retention_ns: int
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    retention_bytes: int | None = None
    max_message_bytes: int = 1 * MIB
    max_wait_ms: int = 20
    durable_by: tuple[str, ...] = ()
    capacity: int = 1024
    capacity_bytes: int = 64 * MIB
    on_full: OnFull = OnFull.BLOCK
    kept: bool = False
    brokers_time: bool = True
    compacted: bool = False

    def partition_of(self, message: Message) -> int:
        """The partition of a message: by channel number, not by hash, so that few channels spread evenly."""
        return message.channel_number % self.partitions if isinstance(message, ChannelMessage) else 0

    def key_of(self, message: Message) -> str:
        """The key of a message: its channel, its version, or empty."""
        if isinstance(message, ConfigMessage):  # the id too: a version that came too late must not replace the one in force
            return f"v{message.number}.{message.version_id}"
        return message.channel if isinstance(message, ChannelMessage) else ""


SEGMENTS = Topic(
    "segments", SegmentMessage, CHANNEL_PARTITIONS, 30 * MINUTE_NS, ("ingest",), ("storage",),
    retention_bytes=2048 * MIB, max_message_bytes=16 * MIB, max_wait_ms=250, durable_by=("storage",), capacity=64,
    capacity_bytes=64 * MIB,
)  # fmt: skip
FRAMES = Topic(
    "frames", FrameMessage, CHANNEL_PARTITIONS, 2 * MINUTE_NS, ("ingest",), ("analytics", "console"),
    retention_bytes=256 * MIB, capacity=32, capacity_bytes=32 * MIB, on_full=OnFull.DROP_OLDEST, brokers_time=False,
)  # fmt: skip
CHANNEL_STATUS = Topic(
    "channel-status", ChannelStatus, CHANNEL_PARTITIONS, DAY_NS, ("ingest",), ("alarms", "console", "cli"),
    max_wait_ms=250, capacity=256, on_full=OnFull.DROP_OLDEST,
)  # fmt: skip
DETECTIONS = Topic(
    "detections", DetectionsMessage, CHANNEL_PARTITIONS, DAY_NS, ("analytics",), ("console",),
    capacity=256, on_full=OnFull.DROP_OLDEST,
)  # fmt: skip
EVENTS = Topic(
    "events", EventMessage, CHANNEL_PARTITIONS, 7 * DAY_NS,
    ("analytics", "ingest", "storage", "alarms", "console", "cli"), ("alarms", "console"),
)  # fmt: skip
ALARMS = Topic("alarms", AlarmMessage, CHANNEL_PARTITIONS, 7 * DAY_NS, ("alarms",), ("console", "cli"))
ACTIONS = Topic("actions", ActionMessage, CHANNEL_PARTITIONS, 7 * DAY_NS, ("alarms", "storage"), ("storage", "alarms", "console"))
RECORDINGS = Topic("recordings", RecordingMessage, CHANNEL_PARTITIONS, 7 * DAY_NS, ("storage",), ("console",), max_wait_ms=250)
DEAD_LETTERS = Topic(
    "dead-letters", DeadLetter, 1, 7 * DAY_NS, ("any",), ("people",), max_message_bytes=17 * MIB,
    capacity=10_000, capacity_bytes=256 * MIB, on_full=OnFull.DROP_OLDEST, kept=True,
)  # fmt: skip
CONFIG = Topic(
    "config", ConfigMessage, 1, 36_500 * DAY_NS, ("cli",), ("ingest", "storage", "alarms", "analytics", "console", "cli"),
    max_message_bytes=2 * MIB, max_wait_ms=500, capacity=10_000, on_full=OnFull.DROP_OLDEST, kept=True, compacted=True,
)  # fmt: skip

ALL: tuple[Topic[Any], ...] = (
    SEGMENTS, FRAMES, CHANNEL_STATUS, DETECTIONS, EVENTS, ALARMS, ACTIONS, RECORDINGS, DEAD_LETTERS, CONFIG,
)  # fmt: skip
