"""Where the state of channels is kept over a restart: one JSON file each under `data_dir`/analytics, replaced whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class StateStore:
    """Blocking, small files. A file that cannot be read is put aside and told of: counting then begins anew."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self) -> dict[str, dict[str, Any]]:
        """All that is kept, by channel."""
        states = {}
        for path in sorted(self._folder.glob("*.json")) if self._folder.is_dir() else ():
            try:
                states[path.stem] = dict(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError) as error:
                log.warning("the saved state of a channel cannot be read; its counts begin anew", channel=path.stem, error=str(error))
                self.put_aside(path.stem)
        return states

    def put_aside(self, channel: str) -> None:
        """Keep what cannot be used for whoever wants to look, under another name."""
        path = self._folder / f"{channel}.json"
        if path.exists():
            path.replace(path.with_suffix(".unreadable"))

    def save(self, channel: str, state: dict[str, Any]) -> None:
        """Atomic and durable. Raises: OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        fresh = self._folder / f".{channel}.tmp"
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(state, file, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._folder / f"{channel}.json")
