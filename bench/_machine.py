"""What processes cost: CPU and memory of whole trees of processes, and what a service says of itself at /metrics."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

MIB = 1024 * 1024


def tree(pid: int) -> list[psutil.Process]:
    """A process and all that come from it; nobody when it has ended."""
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []


def cpu_s(pid: int) -> float:
    """User and system time of a tree, seconds; of children that have ended and were waited for too."""
    total = 0.0
    for process in tree(pid):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def pss_mib(pid: int) -> float:
    """Proportional set size of a tree: what processes share counts in part."""
    total = 0
    for process in tree(pid):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += process.memory_full_info().pss
    return total / MIB


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """What this thread starts in here runs on that core alone, with all its threads."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


@dataclass
class Meter:
    """CPU of named parts, each one or more trees of processes, from `begin` on. A part that ends must be read (`look`) before."""

    parts: Mapping[str, Sequence[int]]
    began: float = field(default_factory=time.monotonic)
    before: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)

    def begin(self) -> None:
        """From here on."""
        self.began, self.before = time.monotonic(), {name: sum(map(cpu_s, pids)) for name, pids in self.parts.items()}
        self.cpu = dict.fromkeys(self.parts, 0.0)
        psutil.cpu_percent()  # from here on, too

    def look(self, *names: str, memory: bool = False) -> None:
        """Read CPU, seconds since `begin`, of these parts (none named: of all); and memory, of which the most is kept, MiB."""
        for name in names or self.parts:
            self.cpu[name] = sum(map(cpu_s, self.parts[name])) - self.before[name]
            if memory:
                self.memory[name] = max(self.memory.get(name, 0.0), sum(map(pss_mib, self.parts[name])))

    def cores(self, *names: str) -> float:
        """Cores in use by these parts together, between `begin` and now; `look` first."""
        return sum(self.cpu[name] for name in names) / (time.monotonic() - self.began)


def metrics(url: str) -> dict[str, float]:
    """Every metric of a process by name, summed over its labels; of groups of readers also `name/group`."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(httpx.get(url, timeout=30).raise_for_status().text):
        for sample in family.samples:
            group = sample.labels.get("group")
            for name in (sample.name, *([f"{sample.name}/{group}"] if group else ())):
                found[name] = found.get(name, 0.0) + sample.value
    return found
