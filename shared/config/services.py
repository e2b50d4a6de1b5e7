"""Settings of the services and of what they stand on: bus, objects, catalogue."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from shared.config.base import Secret, Section, Slug

MIB = 1024 * 1024
GIB = 1024 * MIB


class EmbeddedBus(Section):
    """An in-process log; nothing to install."""

    kind: Literal["embedded"] = "embedded"


class KafkaBus(Section):
    """A Kafka cluster."""

    kind: Literal["kafka"] = "kafka"
    brokers: tuple[str, ...]
    """host:port of one or more brokers."""
    replication: int = Field(default=1, ge=1, le=5)


BusConfig = Annotated[EmbeddedBus | KafkaBus, Field(discriminator="kind")]


class LocalObjects(Section):
    """Files below `data_dir`/objects, or below `root`."""

    kind: Literal["local"] = "local"
    root: Path | None = None


class S3Objects(Section):
    """Any S3 server, MinIO for one."""

    kind: Literal["s3"] = "s3"
    endpoint: str
    """host:port."""
    access_key: Secret
    secret_key: Secret
    tls: bool = True
    region: str = "us-east-1"


ObjectsConfig = Annotated[LocalObjects | S3Objects, Field(discriminator="kind")]


class DatabaseConfig(Section):
    """Where catalogue and alarm book are kept."""

    url: Secret | None = None
    """sqlite or postgresql URL; none: SQLite files below `data_dir`/db."""


class IngestConfig(Section):
    """Reading cameras."""

    segment_s: float = Field(default=4, ge=1, le=60)
    """Aimed length of a segment; it is cut at the next key frame after it."""
    segment_max_bytes: int = Field(default=8 * MIB, ge=256 * 1024, le=15 * MIB)
    spool_max_bytes: int = Field(default=8 * GIB, ge=16 * MIB)
    """All channels together: what may wait on this device's disk for storage."""
    connect_timeout_s: float = Field(default=10, gt=0, le=120)
    read_timeout_s: float = Field(default=10, gt=0, le=120)
    """Silence longer than this is a lost connection."""
    reconnect_min_s: float = Field(default=1, gt=0, le=60)
    reconnect_max_s: float = Field(default=30, gt=0, le=600)
    status_every_s: float = Field(default=5, gt=0, le=60)


class Engine(StrEnum):
    """What runs the detector."""

    AUTO = "auto"  # OpenVINO where installed, then ONNX Runtime, then Ultralytics
    OPENVINO = "openvino"
    ONNX = "onnx"
    ULTRALYTICS = "ultralytics"


class AnalyticsConfig(Section):
    """Detection and tracking."""

    engine: Engine = Engine.AUTO
    model: str = "yolov8n"
    """A name of `vedette models list`, or the path of a .pt or .onnx file."""
    input_width: int = Field(default=640, ge=160, le=1280, multiple_of=32)
    input_height: int = Field(default=384, ge=96, le=1280, multiple_of=32)
    confidence: float = Field(default=0.25, gt=0, lt=1)
    iou: float = Field(default=0.7, gt=0, lt=1)
    """Boxes that overlap more are one."""
    max_batch: int = Field(default=4, ge=1, le=64)
    stale_after_s: float = Field(default=2, gt=0, le=60)
    """Frames older than this are dropped and counted."""
    motion_gate: bool = True
    """Spare the detector pictures in which nothing moves and nothing stands."""
    motion_threshold: float = Field(default=0.002, ge=0, le=1)
    """Share of the picture that must move."""
    recheck_s: float = Field(default=2, gt=0, le=60)
    """With no motion the detector still looks this often."""
    models_dir: Path | None = None
    """Where weights and exported models are kept; none: the user's cache folder."""
    offline_sources: tuple[Path, ...] = ()
    """Folders to take weights from where there is no network."""


class FullPolicy(StrEnum):
    """What happens when the disk is full."""

    OVERWRITE = "overwrite"  # the oldest goes first
    STOP = "stop"  # recording stops, with an exception alarm


class StorageConfig(Section):
    """Keeping recordings."""

    file_s: float = Field(default=60, ge=4, le=3600)
    """Aimed length of a recording file."""
    when_full: FullPolicy = FullPolicy.OVERWRITE
    max_bytes: int | None = Field(default=None, ge=16 * MIB)
    """All recordings together; none: what the disk has."""
    min_free_bytes: int = Field(default=1 * GIB, ge=0)
    """Kept free on the disk; writer and cleaner share this one threshold."""
    quota_mode: bool = False
    """Per-channel quotas instead of one common space (`channels[].recording.quota_bytes`)."""
    sweep_every_s: float = Field(default=10, gt=0, le=3600)
    bucket: Slug = "recordings"
    snapshots_bucket: Slug = "snapshots"


class WebhookCentre(Section):
    """A monitoring centre that is told of alarms: CloudEvents 1.0 over HTTP, signed by Standard Webhooks."""

    kind: Literal["webhook"] = "webhook"
    id: Slug
    url: Annotated[str, Field(pattern=r"^https?://")]
    secret: Secret
    """`whsec_` and base64, 24 to 64 bytes."""
    timeout_s: float = Field(default=10, gt=0, le=60)
    deadline_s: float = Field(default=86400, gt=0)
    """Tried again until this long after the alarm, then a dead letter."""
    retry_min_s: float = Field(default=1, gt=0, le=3600)
    retry_max_s: float = Field(default=300, gt=0, le=86400)
    queue_max: int = Field(default=10000, ge=1)
    """More waiting than this: the oldest become dead letters."""
    enabled: bool = True


class ConsoleConfig(Section):
    """The page and the HTTP API."""

    host: str = "127.0.0.1"
    """Loopback unless told otherwise."""
    port: int = Field(default=8780, ge=0, le=65535)
    """0: any free port, printed at start."""
    session_hours: float = Field(default=12, gt=0, le=720)
    public_url: str = ""
    """How others reach this page, for links in webhooks; none: made from host and port."""
