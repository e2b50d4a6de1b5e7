"""What a site of so many cameras needs: pure arithmetic on unit costs that were measured, each with its date and command.

CPU is in cores (one core for one second = 1000 CPU-ms), sizes are decimal (1 MB = 10^6 bytes) where disks and networks are meant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, inf
from typing import Any

from shared.topics import CHANNEL_PARTITIONS, FRAMES, MIB, SEGMENTS, Topic

MB, TB = 10**6, 10**12
DAY_S = 86_400
NS_PER_S = 10**9


@dataclass(frozen=True, slots=True)
class UnitCost:
    """One figure that plans are made of. `measured`: when. `by`: the command, or what the figure stands on."""

    what: str
    value: float
    unit: str
    measured: str
    by: str


_RECORD = "python bench/record_cost.py --cameras 16 (1080p25, 4 Mbit/s, RTSP on loopback)"
_KAFKA = "python -m bench.kafka_cost --seconds 18 (Kafka 3.9.1, client and broker together, 2 cores idle otherwise)"

INGEST = UnitCost("ingest: receive, cut, spool", 0.52 / 4, "% of a core per Mbit/s", "2026-11-21", _RECORD)
STORAGE = UnitCost("storage: verify, write, catalogue", (0.69 - 0.52) / 4, "% of a core per Mbit/s", "2026-11-21", _RECORD)
INGEST_MEMORY = UnitCost("ingest: memory", 14, "MiB per camera", "2026-11-21", _RECORD)
DECODE = UnitCost("ingest: decode the sub stream", 0.7, "% of a core per camera", "2026-11", "640x360 at 10 frames/s, PyAV")
BUS_VIDEO = UnitCost("segments through a broker, in and out", 10.8, "CPU-ms per MB", "2026-11-21", _KAFKA)
BUS_FRAME = UnitCost("a frame through a broker, JPEG both ways", 3.7, "CPU-ms per frame", "2026-11-21", _KAFKA)
FRAME_SIZE = UnitCost("a frame as JPEG, 640x360", 30, "kB", "2026-11", "simplejpeg, quality 80")
DETECT = UnitCost("detector, OpenVINO, yolov8n 384x640", 66 / 2, "frames/s per core", "2026-11-21", "python -m bench.detect (2 cores)")

COSTS = (INGEST, STORAGE, INGEST_MEMORY, DECODE, BUS_VIDEO, BUS_FRAME, FRAME_SIZE, DETECT)

#: Assumed, not measured here: how full a link or a core may be planned, what one spinning disk takes of such writes, how full disks get.
LINK_SHARE, CORE_SHARE, DISK_MB_S, DISK_SHARE = 0.7, 0.7, 100.0, 0.9
#: A broker's log that is worth having: storage may be away this long.
OUTAGE_S = 600
#: What a topic is told to keep, beyond what cameras of the planned rate fill in the time; and in which steps.
KEEP_ROOM, KEEP_STEP_BYTES = 1.25, 256 * MIB
REPLICAS_FROM = 65  # cameras; below it one broker with the spools of ingest behind it is enough


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked for.

    Attributes:
        mbit: of a camera's main stream. fps: analysed frames a second per camera. days: recordings are kept so long.
        busy: share 0..1 of frames that the motion gate lets through to the detector; 1 is the worst case.
        worker_cores: of one analytics worker. link_gbit: of every machine. disk_tb: size of one disk.
    """

    cameras: int
    mbit: float = 4.0
    fps: float = 5.0
    days: float = 30.0
    busy: float = 1.0
    worker_cores: int = 8
    link_gbit: float = 1.0
    disk_tb: float = 16.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What it needs. Cores are CPU in use, not machines; MB/s are decimal; `limits` says in words what does not fit.

    `segments_bytes`, `frames_bytes`: what the brokers must keep per partition (`bus.retention`); `video_kept_s`, `frames_kept_s`: how long
    that lasts in the fullest one.
    """

    demand: Demand
    video_mb_s: float
    frames_mb_s: float
    ingest_cores: float
    ingest_memory_gib: float
    storage_cores: float
    bus_cores: float
    replicas: int
    brokers: int
    broker_mb_s: float
    broker_disk_gb: float
    segments_bytes: int
    frames_bytes: int
    video_kept_s: float
    frames_kept_s: float
    detector_cores: float
    workers: int
    recordings_tb: float
    disks: int
    network_mb_s: float
    limits: tuple[str, ...] = ()


def plan(demand: Demand) -> Plan:
    """The plan for a demand.

    Raises:
        ValueError: a number that cannot be.
    """
    _check(demand)
    cameras, megabits = demand.cameras, demand.cameras * demand.mbit
    frames_s = cameras * demand.fps
    video_mb_s, frames_mb_s = megabits / 8, frames_s * FRAME_SIZE.value / 1000
    replicas = 3 if cameras >= REPLICAS_FROM else 1
    # In once, to every other replica, and out: segments to storage; frames to analytics and to the console.
    traffic_mb_s = video_mb_s * (1 + (replicas - 1) + 1) + frames_mb_s * (1 + (replicas - 1) + 2)
    link_mb_s = demand.link_gbit * 1000 / 8 * LINK_SHARE
    brokers = max(replicas, ceil(traffic_mb_s / link_mb_s))
    segments, frames = _keeping(SEGMENTS, cameras, demand.mbit / 8, OUTAGE_S), _keeping(FRAMES, cameras, frames_mb_s / cameras)
    video_kept_s, frames_kept_s = _kept_s(segments, cameras, demand.mbit / 8), _kept_s(frames, cameras, frames_mb_s / cameras)
    kept_mb = video_mb_s * video_kept_s + frames_mb_s * frames_kept_s
    detector_cores = frames_s * demand.busy / DETECT.value
    recordings_tb = video_mb_s * MB * DAY_S * demand.days / TB
    made = Plan(
        demand=demand,
        video_mb_s=video_mb_s,
        frames_mb_s=frames_mb_s,
        ingest_cores=megabits * INGEST.value / 100 + cameras * DECODE.value / 100,
        ingest_memory_gib=cameras * INGEST_MEMORY.value / 1024,
        storage_cores=megabits * STORAGE.value / 100,
        bus_cores=(video_mb_s * BUS_VIDEO.value + frames_s * BUS_FRAME.value) / 1000,
        replicas=replicas,
        brokers=brokers,
        broker_mb_s=traffic_mb_s / brokers,
        broker_disk_gb=kept_mb * replicas / brokers / 1000,
        segments_bytes=bytes_kept(segments),
        frames_bytes=bytes_kept(frames),
        video_kept_s=video_kept_s,
        frames_kept_s=frames_kept_s,
        detector_cores=detector_cores,
        workers=ceil(detector_cores / (demand.worker_cores * CORE_SHARE)) if demand.fps else 0,
        recordings_tb=recordings_tb,
        disks=max(ceil(recordings_tb / (demand.disk_tb * DISK_SHARE)), ceil(video_mb_s / DISK_MB_S)),
        network_mb_s=traffic_mb_s + video_mb_s,
    )
    return _with_limits(made)


def _check(demand: Demand) -> None:
    if demand.cameras < 1 or demand.worker_cores < 1 or min(demand.mbit, demand.link_gbit, demand.disk_tb) <= 0:
        raise ValueError("cameras, cores, Mbit/s, link and disk must be positive")
    if demand.fps < 0 or demand.days < 0 or not 0 <= demand.busy <= 1:
        raise ValueError("frames/s and days cannot be negative, and the busy share lies between 0 and 1")


def most_cameras(topic: Topic[Any], camera_mb_s: float, seconds: float) -> int:
    """How many cameras a topic holds for so long, by its `retention.bytes` as it is made.

    Raises:
        ValueError: the topic has no such bound.
    """
    return int(bytes_kept(topic) / MB / (camera_mb_s * seconds)) * topic.partitions


def bytes_kept(topic: Topic[Any]) -> int:
    """Per partition.

    Raises:
        ValueError: the topic is bounded by time alone.
    """
    if topic.retention_bytes is None:
        raise ValueError(f"topic {topic.name} is bounded by time alone")
    return topic.retention_bytes


def _keeping(topic: Topic[Any], cameras: int, camera_mb_s: float, seconds: float = inf) -> Topic[Any]:
    """The topic as this site needs it: its fullest partition lasts for so long, at most its own time; never less than as it is made."""
    seconds = min(seconds, topic.retention_ns / NS_PER_S)
    needed = ceil(cameras / topic.partitions) * camera_mb_s * MB * seconds * KEEP_ROOM
    steps = ceil(needed / KEEP_STEP_BYTES) * KEEP_STEP_BYTES
    return replace(topic, retention_bytes=max(bytes_kept(topic), steps))


def _kept_s(topic: Topic[Any], cameras: int, camera_mb_s: float) -> float:
    """How long the fullest partition keeps its messages: its time, or less where its bytes end first."""
    kept_s = topic.retention_ns / NS_PER_S
    fullest_mb_s = ceil(cameras / topic.partitions) * camera_mb_s
    if topic.retention_bytes is None or fullest_mb_s == 0:
        return kept_s
    return min(kept_s, topic.retention_bytes / MB / fullest_mb_s)


def _with_limits(made: Plan) -> Plan:
    demand, limits = made.demand, []
    if made.workers > CHANNEL_PARTITIONS:
        each = ceil(made.detector_cores / CHANNEL_PARTITIONS / CORE_SHARE)
        limits.append(
            f"{made.workers} workers, but {CHANNEL_PARTITIONS} partitions occupy no more than {CHANNEL_PARTITIONS}: "
            f"give each {each} cores or a GPU, or split the site"
        )
    link_mb_s = demand.link_gbit * 1000 / 8 * LINK_SHARE
    if made.video_mb_s * 2 + made.frames_mb_s > link_mb_s:  # what one machine with all of ingest receives and hands on
        machines = ceil((made.video_mb_s * 2 + made.frames_mb_s) / link_mb_s)
        limits.append(
            f"one machine for ingest fills a link of {demand.link_gbit:g} Gbit/s: share the cameras between {machines} (`--share`)"
        )
    if made.video_mb_s * 2 > link_mb_s:
        links = ceil(made.video_mb_s * 2 / link_mb_s)
        limits.append(f"one machine for storage fills a link of {demand.link_gbit:g} Gbit/s: it needs {links} of them, or a faster one")
    return replace(made, limits=tuple(limits))
