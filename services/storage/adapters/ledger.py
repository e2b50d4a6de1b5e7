"""How many bytes are stored, by bucket and channel, without asking the catalogue each time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes: of recordings that may be deleted, of locked ones, and of snapshots."""

    unlocked_bytes: int = 0
    locked_bytes: int = 0
    snapshot_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        return self.unlocked_bytes + self.locked_bytes + self.snapshot_bytes

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.unlocked_bytes + other.unlocked_bytes, self.locked_bytes + other.locked_bytes, self.snapshot_bytes + other.snapshot_bytes
        )


@dataclass(frozen=True, slots=True)
class Share:
    """Whose bytes: of a channel in a bucket."""

    bucket: str
    channel: str


class _Kept(Protocol):
    """A recording or a snapshot."""

    @property
    def bucket(self) -> str: ...
    @property
    def channel(self) -> str: ...


class Ledger:
    """Sums kept up to date by whoever changes something. One event loop."""

    def __init__(self) -> None:
        self._usage: dict[Share, Usage] = {}

    def load(self, usage: Mapping[Share, Usage]) -> None:
        """Begin with what the catalogue says."""
        self._usage = dict(usage)

    def recording(self, of: _Kept, bytes_: int, *, locked: bool) -> None:
        """A recording grew (or went, when negative)."""
        self._add(of, Usage(locked_bytes=bytes_) if locked else Usage(unlocked_bytes=bytes_))

    def snapshot(self, of: _Kept, bytes_: int) -> None:
        self._add(of, Usage(snapshot_bytes=bytes_))

    def _add(self, of: _Kept, added: Usage) -> None:
        share = Share(of.bucket, of.channel)
        self._usage[share] = self._usage.get(share, Usage()) + added

    @property
    def total_bytes(self) -> int:
        return sum(usage.total_bytes for usage in self._usage.values())

    def unlocked(self) -> dict[str, int]:
        """Bytes per channel that count against quotas."""
        return {channel: usage.unlocked_bytes + usage.snapshot_bytes for channel, usage in self.by_channel().items()}

    def unlocked_in(self) -> dict[str, int]:
        """Bytes per bucket that count against the limits of storage groups."""
        return {bucket: usage.unlocked_bytes + usage.snapshot_bytes for bucket, usage in self.by_bucket().items()}

    def by_channel(self) -> dict[str, Usage]:
        found: defaultdict[str, Usage] = defaultdict(Usage)
        for share, usage in self._usage.items():
            found[share.channel] += usage
        return dict(found)

    def by_bucket(self) -> dict[str, Usage]:
        """As `Recording.bucket` names them. What names no storage group is under the empty name, recordings and snapshots together."""
        found: defaultdict[str, Usage] = defaultdict(Usage)
        for share, usage in self._usage.items():
            found[share.bucket] += usage
        return dict(found)
