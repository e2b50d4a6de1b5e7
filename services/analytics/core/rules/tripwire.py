"""Tripwire: someone crosses a line."""

from __future__ import annotations

from collections import Counter

from services.analytics.core.rules.base import Phase, RuleEvent, Scene, State, momentary, of_track
from services.analytics.core.rules.crossing import LineCrossings
from services.analytics.core.rules.filters import accepted
from shared.config.rules import Direction, TripwireRule


class Tripwire:
    """A momentary event for every crossing in a direction that is asked for."""

    def __init__(self, config: TripwireRule) -> None:
        self._config = config
        self._crossings = LineCrossings(config.line, config.hysteresis)

    @property
    def id(self) -> str:
        return self._config.id

    def step(self, scene: Scene) -> list[RuleEvent]:
        tracks = accepted(scene.tracks, self._config.targets, self._config.size)
        seen: Counter[Direction] = Counter()
        events = []
        for crossing in self._crossings.step(tracks, scene.time_ns, scene.aspect):
            if self._config.direction not in (Direction.BOTH, crossing.direction):
                continue
            events += momentary(
                of_track(
                    Phase.STARTED,
                    crossing.track,
                    start_ns=scene.time_ns,
                    at_ns=scene.time_ns,
                    direction=crossing.direction.value,
                    ordinal=seen[crossing.direction],
                )
            )
            seen[crossing.direction] += 1
        return events

    def close(self, time_ns: int) -> list[RuleEvent]:
        return []

    def interrupt(self, time_ns: int) -> list[RuleEvent]:
        self._crossings.forget()
        return []

    def resume(self, time_ns: int) -> list[RuleEvent]:
        self._crossings.resume(time_ns)
        return []

    def export(self) -> State:
        return {"crossings": self._crossings.export()}

    def restore(self, state: State) -> None:
        self._crossings.restore(state["crossings"])
