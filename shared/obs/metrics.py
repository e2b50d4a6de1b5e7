"""The one metrics registry. Services declare theirs in `services/<x>/metrics.py` through these; names are `vedette_<service>_...`.

Counters end in `_total`, times are in seconds, sizes in bytes. Labels: at most `channel` and one more; never a URL or a secret.
"""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

REGISTRY = CollectorRegistry()

#: Seconds; from a frame in memory to a webhook across a slow line.
LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 60.0)


def counter(name: str, help_: str, labels: Sequence[str] = ()) -> Counter:
    return Counter(f"vedette_{name}", help_, labels, registry=REGISTRY)


def gauge(name: str, help_: str, labels: Sequence[str] = ()) -> Gauge:
    return Gauge(f"vedette_{name}", help_, labels, registry=REGISTRY)


def histogram(name: str, help_: str, labels: Sequence[str] = (), buckets: Sequence[float] = LATENCY_BUCKETS) -> Histogram:
    return Histogram(f"vedette_{name}", help_, labels, buckets=buckets, registry=REGISTRY)


def exposition() -> bytes:
    """All metrics in the Prometheus text format."""
    return generate_latest(REGISTRY)
