"""How far the readers of topics are behind, asked when metrics are read."""

from __future__ import annotations

from collections.abc import Callable

from shared.obs.metrics import gauge

LAG = gauge("reader_lag_messages", "Messages of its partitions that a group's reader in this process has not handled yet.", ["group"])


def watch_lag(group: str, lag: Callable[[], float]) -> None:
    """Tell `lag()` as the lag of a group's reader; a later reader of the group in this process takes its place."""
    LAG.labels(group).set_function(lag)
