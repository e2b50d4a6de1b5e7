"""The port of what is kept of channels: their states, each with one owner at a time.

A worker that is given a channel claims it: the claim loads the state and makes the claim before it void. Whoever lost the channel and
does not know yet is refused when it saves, and has told nothing by then: a state is saved before what came of it is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shared.domain.errors import VedetteError


class StateUnavailable(VedetteError):
    """What is kept cannot be reached now. The caller keeps what it has and tries again."""


class StateMoved(VedetteError):
    """Another has claimed the channel since."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim gave. `generation` rises by one with every claim of the channel; `state` is None when nothing is kept."""

    generation: int
    state: dict[str, Any] | None


class StateStore(Protocol):
    """Keeps one state per channel, durably. Nothing connects before the first use."""

    @property
    def trouble(self) -> str:
        """What keeps it from working now, for people; empty: nothing."""
        ...

    async def claim(self, channels: Sequence[str]) -> dict[str, Claim]:
        """Make these channels the caller's own, and load what is kept of them.

        Raises:
            StateUnavailable: nothing may have been claimed, or all.
        """
        ...

    async def load(self, channels: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What is kept of these channels, without claiming them.

        Raises:
            StateUnavailable
        """
        ...

    async def save(self, channel: str, generation: int, state: dict[str, Any]) -> None:
        """Replace what is kept of a channel. Durable when it returns.

        Raises:
            StateMoved: `generation` is not that of the newest claim; nothing has changed.
            StateUnavailable: it may have been saved, or not.
        """
        ...

    async def put_aside(self, channel: str) -> None:
        """Keep what cannot be used for whoever wants to look, and begin anew."""
        ...

    async def close(self) -> None:
        """Let go of everything. Idempotent."""
        ...
