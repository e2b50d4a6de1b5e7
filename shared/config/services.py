"""Settings of the services and of what they stand on: bus, objects, catalogue."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, model_validator

from shared.config.base import CertificateFile, LocalPath, Secret, Section, Slug, from_base
from shared.config.references import DEFAULT_BUCKETS

MIB = 1024 * 1024
GIB = 1024 * MIB


class EmbeddedBus(Section):
    """An in-process log; nothing to install."""

    kind: Literal["embedded"] = "embedded"


class BusRetention(Section):
    """How much of what fills the brokers' disks they keep; `vedette plan` says what a site needs."""

    segments_bytes: int | None = Field(default=None, ge=128 * MIB)
    """Bytes for each of 24 partitions: footage that storage has yet to take; null: as the topic is, 2 GiB when it is made."""
    frames_bytes: int | None = Field(default=None, ge=128 * MIB)
    """Bytes for each of 24 partitions: frames to analyse; null: as the topic is, 256 MiB when it is made."""


class KafkaBus(Section):
    """A Kafka cluster."""

    kind: Literal["kafka"] = "kafka"
    brokers: tuple[str, ...]
    """host:port of one or more brokers."""
    replication: int = Field(default=1, ge=1, le=5)
    """Copies that the cluster keeps of each message; at most its number of brokers."""
    restart_after_s: float | None = Field(default=None, ge=5)
    """Seconds; a process whose alarms or analytics handle nothing for so long though messages wait ends with status 75; null: never."""
    retention: BusRetention = BusRetention()


BusConfig = Annotated[EmbeddedBus | KafkaBus, Field(discriminator="kind")]


class LocalObjects(Section):
    """Files below `data_dir`/objects, or below `root`."""

    kind: Literal["local"] = "local"
    root: LocalPath | None = None
    """Folder; null: `objects` in data_dir."""


class S3Objects(Section):
    """Any S3 server, MinIO for one."""

    kind: Literal["s3"] = "s3"
    endpoint: str
    """host:port."""
    access_key: Secret
    """{env: NAME}, {file: PATH} or text."""
    secret_key: Secret
    """{env: NAME}, {file: PATH} or text."""
    tls: bool = True
    """false: plain HTTP."""
    region: str = "us-east-1"
    """As the server names it."""


ObjectsConfig = Annotated[LocalObjects | S3Objects, Field(discriminator="kind")]


class DatabaseConfig(Section):
    """Where catalogue and alarm book are kept."""

    url: Secret | None = None
    """A sqlite or postgresql URL: {env: NAME}, {file: PATH} or text; null: SQLite files in `db` in data_dir."""


class IngestConfig(Section):
    """Reading cameras."""

    segment_s: float = Field(default=4, ge=1, le=60)
    """Seconds, aimed length of a segment; it is cut at the next key frame after it."""
    segment_max_bytes: int = Field(default=8 * MIB, ge=256 * 1024, le=15 * MIB)
    """Bytes; a longer group of pictures is cut and flagged."""
    spool_max_bytes: int = Field(default=8 * GIB, ge=16 * MIB)
    """Bytes, all channels together: what may wait on this device's disk for storage."""
    catch_up_bytes_per_s: int | None = Field(default=None, ge=64 * 1024)
    """Bytes per second, all channels together, at which waiting footage is handed over; null: three times what the cameras deliver."""
    connect_timeout_s: float = Field(default=10, gt=0, le=120)
    """Seconds to wait for a camera's first answer."""
    read_timeout_s: float = Field(default=10, gt=0, le=120)
    """Seconds of silence after which a connection is lost."""
    reconnect_min_s: float = Field(default=1, gt=0, le=60)
    """Seconds before the first new attempt; it doubles, with jitter, up to reconnect_max_s."""
    reconnect_max_s: float = Field(default=30, gt=0, le=600)
    """Seconds."""
    status_every_s: float = Field(default=5, gt=0, le=60)
    """Seconds between two reports of a channel's state."""
    live_fps: float = Field(default=1, ge=0, le=5)
    """Pictures per second for the live view of channels without analysis, from key frames alone, so at most as many as those; 0: none."""
    ca_file: CertificateFile | None = None
    """PEM file of the authorities to believe of cameras (rtsps and https); null: those of the system."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.reconnect_min_s > self.reconnect_max_s:
            raise ValueError("reconnect_min_s is larger than reconnect_max_s")
        return self


class Engine(StrEnum):
    """What runs the detector."""

    AUTO = "auto"  # OpenVINO where installed, then ONNX Runtime, then Ultralytics
    OPENVINO = "openvino"
    ONNX = "onnx"
    ULTRALYTICS = "ultralytics"


def _model_path(model: str, info: ValidationInfo) -> str:
    """A model that is a file is named relative to the configuration file."""
    return str(from_base(Path(model), info)) if model.endswith((".pt", ".onnx")) else model


class AnalyticsConfig(Section):
    """Detection and tracking."""

    engine: Engine = Engine.AUTO
    """auto: OpenVINO where installed, then ONNX Runtime, then Ultralytics."""
    model: Annotated[str, AfterValidator(_model_path)] = "yolov8n"
    """A name of `vedette models list`, or the path of a .pt or .onnx file."""
    input_width: int = Field(default=640, ge=160, le=1280, multiple_of=32)
    """Pixels, of the detector's input."""
    input_height: int = Field(default=384, ge=96, le=1280, multiple_of=32)
    """Pixels, of the detector's input."""
    confidence: float = Field(default=0.25, gt=0, lt=1)
    """Boxes that the detector is less sure of are left out."""
    iou: float = Field(default=0.7, gt=0, lt=1)
    """Intersection over union; boxes that overlap more are one."""
    max_batch: int = Field(default=4, ge=1, le=64)
    """Frames of several channels that the detector takes at once."""
    stale_after_s: float = Field(default=2, gt=0, le=60)
    """Seconds; frames older than this are dropped and counted."""
    motion_gate: bool = True
    """Spare the detector pictures in which nothing moves and nothing stands."""
    motion_threshold: float = Field(default=0.002, ge=0, le=1)
    """Share of the picture that must move."""
    recheck_s: float = Field(default=2, gt=0, le=60)
    """Seconds; with no motion the detector still looks this often."""
    models_dir: LocalPath | None = None
    """Where weights and exported models are kept; null: the user's cache folder."""
    offline_sources: tuple[LocalPath, ...] = ()
    """Folders to take weights from where there is no network."""


class FullPolicy(StrEnum):
    """What happens when the disk is full."""

    OVERWRITE = "overwrite"  # the oldest goes first
    STOP = "stop"  # recording stops, with an exception alarm


class StorageGroup(Section):
    """A bucket of its own for what channels name it for."""

    bucket: Slug
    """In the object store; on an S3 server locked recordings lie in `<bucket>-locked`."""
    max_bytes: int | None = Field(default=None, ge=16 * MIB)
    """Bytes, without locked recordings; over it the group overwrites its own oldest, never another's; null: only the limits of all."""


class StorageConfig(Section):
    """Keeping recordings."""

    file_s: float = Field(default=60, ge=4, le=3600)
    """Seconds, aimed length of a recording file."""
    when_full: FullPolicy = FullPolicy.OVERWRITE
    """overwrite: the oldest goes first; stop: recording stops, with an exception alarm."""
    max_bytes: int | None = Field(default=None, ge=16 * MIB)
    """Bytes, all recordings together; null: what the disk has."""
    min_free_bytes: int = Field(default=1 * GIB, ge=0)
    """Bytes kept free on the disk; writer and cleaner share this one threshold."""
    quota_mode: bool = False
    """Per-channel quotas instead of one common space (`channels[].recording.quota_bytes`)."""
    sweep_every_s: float = Field(default=10, gt=0, le=3600)
    """Seconds between two looks of the cleaner."""
    bucket: Slug = DEFAULT_BUCKETS["bucket"]
    """Where recordings go in the object store."""
    snapshots_bucket: Slug = DEFAULT_BUCKETS["snapshots_bucket"]
    """Where snapshots go."""
    groups: dict[Slug, StorageGroup] = Field(default_factory=dict)
    """Further places by name, for channels that name one: `channels[].recording.group`, `channels[].recording.snapshots_group`."""

    def bucket_of(self, group: str | None) -> str:
        """The bucket of a group; empty: the one that everything goes to that names none."""
        return "" if group is None else self.groups[group].bucket


class AlarmsConfig(Section):
    """Alarms, and how long the alarm book keeps what it knows."""

    offline_after_s: float = Field(default=10, ge=0, le=600)
    """Seconds that a camera must be offline before it is an alarm."""
    lost_after_s: float = Field(default=300, ge=120, le=86400)
    """Seconds; an alarm that goes on, but of which nothing more is heard, ends then."""
    keep_days: float = Field(default=365, ge=1, le=36500)
    """Days that alarms are kept."""
    keep_events_days: float = Field(default=30, ge=8, le=36500)
    """Days that events, carried out commands and sent webhooks are kept; longer than their topics keep them."""
    keep_log_days: float = Field(default=90, ge=1, le=36500)
    """Days that the system log is kept."""


def _check_webhook_secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise ValueError("a webhook secret is `whsec_` and then base64 of 24 to 64 bytes")
    return secret


class SendOn(StrEnum):
    """Changes of an alarm that a centre can be told of."""

    RAISED = "raised"
    UPDATED = "updated"  # another event was merged into it
    ENDED = "ended"


class WebhookCentre(Section):
    """A monitoring centre that is told of alarms: CloudEvents 1.0 over HTTP, signed by Standard Webhooks."""

    kind: Literal["webhook"] = "webhook"
    id: Slug
    """Rules name it in `linkage.webhooks`."""
    url: Annotated[str, Field(pattern=r"^https?://[^/]", description="Where messages are POSTed: http:// or https://.")]
    secret: Annotated[Secret, AfterValidator(_check_webhook_secret)]
    """`whsec_` and base64 of 24 to 64 bytes: {env: NAME}, {file: PATH} or text. The receiver checks signatures with it."""
    timeout_s: float = Field(default=10, gt=0, le=60)
    """Seconds to wait for an answer."""
    deadline_s: float = Field(default=86400, gt=0)
    """Seconds; tried again until this long after the alarm, then a dead letter."""
    retry_min_s: float = Field(default=1, gt=0, le=3600)
    """Seconds before the first new attempt; it doubles, with jitter, up to retry_max_s."""
    retry_max_s: float = Field(default=300, gt=0, le=86400)
    """Seconds."""
    queue_max: int = Field(default=10000, ge=1)
    """More messages waiting than this: the oldest become dead letters."""
    send: Annotated[tuple[SendOn, ...], Field(min_length=1)] = (SendOn.RAISED,)
    """Which changes of an alarm it is told of: raised, updated (another event was merged into it), ended."""
    enabled: bool = True
    """false: it is told nothing."""


def _check_network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        raise ValueError("an address such as 192.0.2.4, or a network such as 192.0.2.0/24, without bits beyond the prefix") from None
    return text


class ConsoleConfig(Section):
    """The page and the HTTP API."""

    host: str = "127.0.0.1"
    """Address to listen on; 127.0.0.1: this machine only, 0.0.0.0: every network."""
    port: int = Field(default=8780, ge=0, le=65535)
    """0: any free port, printed at start."""
    session_hours: float = Field(default=12, gt=0, le=720)
    """Hours until a signed-in user must sign in again."""
    public_url: str = ""
    """How others reach this page, for links in webhooks; empty: made from host and port."""
    trusted_proxies: tuple[Annotated[str, AfterValidator(_check_network)], ...] = ()
    """Addresses or networks of reverse proxies in front of this page: their X-Forwarded-For and -Proto are believed."""
