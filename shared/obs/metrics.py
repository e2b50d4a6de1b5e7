"""The one metrics registry. Services declare theirs in `services/<x>/metrics.py` through these; names are `vedette_<service>_...`.

Counters end in `_total`, times are in seconds, sizes in bytes. Labels: at most `channel` and one more; never a URL or a secret.
What there is: docs/observability.md. CPU, memory and open files of the process are prometheus_client's own (`process_...`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector, generate_latest

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

#: Seconds; from a frame in memory to a webhook across a slow line.
LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 60.0)

#: What a name may end in, before `_total`, to say what it counts; without one it is a plain number.
UNITS = ("seconds", "bytes", "messages", "segments", "frames", "files")


@dataclass(frozen=True, slots=True)
class Declared:
    """A metric that some module has declared, as docs/observability.md lists it."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]

    @property
    def unit(self) -> str:
        """By the name's end, as Prometheus has it."""
        last = self.name.removesuffix("_total").rpartition("_")[2]
        return last if last in UNITS else "1"


#: In the order of declaration.
DECLARED: list[Declared] = []


def counter(name: str, help_: str, labels: Sequence[str] = ()) -> Counter:
    return Counter(_declare(name, "counter", help_, labels), help_, labels, registry=REGISTRY)


def gauge(name: str, help_: str, labels: Sequence[str] = ()) -> Gauge:
    return Gauge(_declare(name, "gauge", help_, labels), help_, labels, registry=REGISTRY)


def histogram(name: str, help_: str, labels: Sequence[str] = (), buckets: Sequence[float] = LATENCY_BUCKETS) -> Histogram:
    return Histogram(_declare(name, "histogram", help_, labels), help_, labels, buckets=buckets, registry=REGISTRY)


def _declare(name: str, kind: str, help_: str, labels: Sequence[str]) -> str:
    DECLARED.append(Declared(f"vedette_{name}", kind, help_, tuple(labels)))
    return f"vedette_{name}"


def exposition() -> bytes:
    """All metrics in the Prometheus text format."""
    return generate_latest(REGISTRY)
