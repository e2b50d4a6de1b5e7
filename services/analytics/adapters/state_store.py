"""The states of channels in a folder: one JSON file each under `data_dir`/analytics, replaced whole."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import structlog

from services.analytics.state import Claim, StateMoved, StateUnavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")


class StateFiles:
    """`StateStore` in small files. One that cannot be read is put aside and told of: counting then begins anew."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._trouble = ""

    @property
    def trouble(self) -> str:
        return self._trouble

    async def claim(self, channels: Sequence[str]) -> dict[str, Claim]:
        return await self._in_thread(lambda: {channel: self._claim(channel) for channel in channels})

    async def load(self, channels: Sequence[str]) -> dict[str, dict[str, Any]]:
        found = await self._in_thread(lambda: {channel: self._read(channel)[1] for channel in channels})
        return {channel: state for channel, state in found.items() if state is not None}

    async def save(self, channel: str, generation: int, state: dict[str, Any]) -> None:
        def work() -> None:
            if self._read(channel)[0] != generation:
                raise StateMoved(f"channel {channel} has another owner now")
            self._write(channel, generation, state)

        await self._in_thread(work)

    async def put_aside(self, channel: str) -> None:
        await self._in_thread(lambda: self._put_aside(channel))

    async def close(self) -> None:
        """Nothing is held."""

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            done = await asyncio.to_thread(work)
        except OSError as error:
            self._trouble = f"the states of the channels: {type(error).__name__}: {error}"
            raise StateUnavailable(self._trouble, where=str(self._folder)) from error
        self._trouble = ""
        return done

    def _claim(self, channel: str) -> Claim:
        generation, state = self._read(channel)
        self._write(channel, generation + 1, state or {})
        return Claim(generation + 1, state)

    def _read(self, channel: str) -> tuple[int, dict[str, Any] | None]:
        path = self._folder / f"{channel}.json"
        if not path.exists():
            return 0, None
        try:
            state = dict(json.loads(path.read_text(encoding="utf-8")))
            generation = int(state.pop("generation", 0))
        except (ValueError, TypeError) as error:
            log.warning("the saved state of a channel cannot be read; its counts begin anew", channel=channel, error=str(error))
            self._put_aside(channel)
            return 0, None
        return generation, state or None

    def _put_aside(self, channel: str) -> None:
        path = self._folder / f"{channel}.json"
        if path.exists():
            path.replace(path.with_suffix(".unreadable"))

    def _write(self, channel: str, generation: int, state: dict[str, Any]) -> None:
        """Atomic and durable."""
        self._folder.mkdir(parents=True, exist_ok=True)
        fresh = self._folder / f".{channel}.tmp"
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(state | {"generation": generation}, file, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._folder / f"{channel}.json")
