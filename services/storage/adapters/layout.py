"""Where storage keeps things below the data folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.storage.core.model import Recording

SUFFIX = ".mp4"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below `data_dir`."""

    data_dir: Path

    @property
    def open_dir(self) -> Path:
        """Files being written, and those not yet in the object store."""
        return self.data_dir / "recordings-open"

    @property
    def store_mark(self) -> Path:
        """Names the catalogue that these files belong to."""
        return self.open_dir / ".store"

    @property
    def unlisted(self) -> Path:
        """Left while the object store may hold recordings that the catalogue does not name."""
        return self.open_dir / ".unlisted"

    @property
    def clock(self) -> Path:
        """What was seen of the machine's clock."""
        return self.open_dir / ".clock"

    @property
    def ballast(self) -> Path:
        return self.open_dir / ".ballast"

    @property
    def lost(self) -> Path:
        """Files that no catalogue knows."""
        return self.data_dir / "lost+found"

    def path(self, recording: Recording) -> Path:
        """The local file of a recording."""
        return self.open_dir / recording.device / recording.channel / f"{recording.id}{SUFFIX}"

    def local_files(self) -> list[Path]:
        """All recording files here. Blocking."""
        return sorted(self.open_dir.rglob(f"*{SUFFIX}")) if self.open_dir.is_dir() else []
