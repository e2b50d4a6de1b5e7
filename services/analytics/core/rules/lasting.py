"""A lasting event: started once, updated at most every second, ended once."""

from __future__ import annotations

from dataclasses import replace

from services.analytics.core.rules.base import UPDATE_EVERY_NS, Phase, RuleEvent, State, event_from_state, event_to_state


class Lasting:
    """At most one open event."""

    def __init__(self) -> None:
        self._open: RuleEvent | None = None

    @property
    def open(self) -> RuleEvent | None:
        """The event as last told, or None."""
        return self._open

    def start(self, event: RuleEvent) -> list[RuleEvent]:
        """Begin. Must not be open."""
        assert self._open is None
        self._open = replace(event, phase=Phase.STARTED)
        return [self._open]

    def update(self, latest: RuleEvent) -> list[RuleEvent]:
        """It goes on: who and where as in `latest`; told at most once a second.

        Where time went back it is told under the next later time: an earlier one is taken for old by whoever was told the one before.
        """
        assert self._open is not None
        before = self._open
        if 0 <= latest.at_ns - before.at_ns < UPDATE_EVERY_NS:
            return []
        self._open = replace(
            latest, phase=Phase.UPDATED, start_ns=before.start_ns, direction=before.direction, ordinal=before.ordinal,
            at_ns=max(latest.at_ns, before.at_ns + 1),
        )  # fmt: skip
        return [self._open]

    def end(self, at_ns: int, end_ns: int) -> list[RuleEvent]:
        """It is over. Nothing happens when nothing is open."""
        event, self._open = self._open, None
        return [] if event is None else [event.ended(at_ns, max(end_ns, event.start_ns))]

    def export(self) -> State | None:
        return None if self._open is None else event_to_state(self._open)

    def restore(self, state: State | None) -> None:
        self._open = None if state is None else event_from_state(state)
