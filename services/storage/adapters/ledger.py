"""How many bytes are stored, by channel, without asking the catalogue each time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from services.storage.adapters.finder import Usage


class Ledger:
    """Sums kept up to date by whoever changes something. One event loop."""

    def __init__(self) -> None:
        self._usage: dict[str, Usage] = {}

    def load(self, usage: Mapping[str, Usage]) -> None:
        """Begin with what the catalogue says."""
        self._usage = dict(usage)

    def recording(self, channel: str, bytes_: int, *, locked: bool) -> None:
        """A recording grew (or went, when negative)."""
        usage = self._usage.get(channel, Usage())
        if locked:
            self._usage[channel] = replace(usage, locked_bytes=usage.locked_bytes + bytes_)
        else:
            self._usage[channel] = replace(usage, unlocked_bytes=usage.unlocked_bytes + bytes_)

    def snapshot(self, channel: str, bytes_: int) -> None:
        usage = self._usage.get(channel, Usage())
        self._usage[channel] = replace(usage, snapshot_bytes=usage.snapshot_bytes + bytes_)

    @property
    def total_bytes(self) -> int:
        return sum(usage.total_bytes for usage in self._usage.values())

    def unlocked(self) -> dict[str, int]:
        """Bytes per channel that count against quotas."""
        return {channel: usage.unlocked_bytes + usage.snapshot_bytes for channel, usage in self._usage.items()}

    def by_channel(self) -> dict[str, Usage]:
        return dict(self._usage)
