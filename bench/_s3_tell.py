"""What bench/s3_rate.py has measured, and how it is told."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from bench._segments import Fed

MB = 1e6
#: What has done its work when all is stored.
BEFORE_STORAGE = ("broker", "cameras")


@dataclass
class Lag:
    """Of storage, in segments."""

    most: float = 0.0
    end: float = 0.0


@dataclass(frozen=True)
class Peer:
    """The plain client with as many bytes: MB/s, CPU-ms per MB of the client and of MinIO."""

    mb_s: float
    client_ms_mb: float
    minio_ms_mb: float

    @property
    def ms_mb(self) -> float:
        return self.client_ms_mb + self.minio_ms_mb


@dataclass(frozen=True)
class Measured:
    """By process: `cpu_s` of the whole run, `memory_mib` at most, `idle` cores in use while nothing comes (empty: not measured)."""

    fed: Fed
    lag: Lag
    stored_s: float
    cpu_s: dict[str, float]
    memory_mib: dict[str, float]
    idle: dict[str, float]
    peer: Peer
    lost: list[str] = field(default_factory=list)

    def ms_mb(self, *names: str) -> float:
        """CPU-ms per MB of these processes together."""
        return sum(self.cpu_s[name] for name in names) * 1000 / (self.fed.bytes / MB)


def tell(found: Measured, what: str, file_s: int) -> None:
    """The table and the ratios."""
    fed, lag, peer = found.fed, found.lag, found.peer
    mb, rate = fed.bytes / MB, fed.segments / fed.seconds
    print(f"\n{what}, {os.cpu_count()} cores")
    print(
        f"published {fed.segments} segments, {mb:.0f} MB: {mb / fed.seconds:6.2f} MB/s, {rate:.2f} segments/s; acknowledged after "
        f"p50 {fed.p50_ms:.0f} ms, p99 {fed.p99_ms:.0f} ms; attempts that failed: {fed.failures}"
    )
    print(f"stored                                  {mb / found.stored_s:6.2f} MB/s, {fed.segments / found.stored_s:.2f} segments/s")
    print(f"lag of storage: at most {lag.most:.0f} segments ({lag.most / rate:.1f} s of footage), at the end {lag.end:.0f}\n")
    print("| process             | CPU-ms per MB | of a core at this rate | of a core while idle | memory at most, MiB |")
    print("|---|---|---|---|---|")
    for name in found.cpu_s:
        idle = f"{found.idle[name]:.1%}" if name in found.idle else "-"
        _row(name, found.ms_mb(name), mb / fed.seconds, idle, found.memory_mib[name])
    whole, kept = found.ms_mb(*found.cpu_s), found.ms_mb(*(name for name in found.cpu_s if name not in BEFORE_STORAGE))
    _row("all", whole, mb / fed.seconds, f"{sum(found.idle.values()):.1%}" if found.idle else "-", sum(found.memory_mib.values()))
    print(f"\npeer: fput_object of files of {file_s} s: {peer.mb_s:.1f} MB/s,", end=" ")
    print(f"{peer.client_ms_mb:.2f} client + {peer.minio_ms_mb:.2f} MinIO CPU-ms per MB")
    print(f"ratio: storage, MinIO and PostgreSQL {kept / peer.ms_mb:.2f} x the peer's CPU; all processes {whole / peer.ms_mb:.2f} x\n")


def _row(name: str, ms_mb: float, mb_s: float, idle: str, memory_mib: float) -> None:
    print(f"| {name:<19} | {ms_mb:6.2f} | {ms_mb * mb_s / 10:5.1f}% | {idle} | {memory_mib:.0f} |")
