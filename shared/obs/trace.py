"""Log lines that carry a trace id. Which messages have one: docs/observability.md."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from structlog.contextvars import bound_contextvars


@contextmanager
def following(trace: str) -> Iterator[None]:
    """Every log line of this task has `trace` meanwhile; empty: the lines are as they were. Not in threads of an executor."""
    if not trace:
        yield
        return
    with bound_contextvars(trace=trace):
        yield
