"""Any walk counts exactly its true crossings of the hysteresis band."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.analytics.core.plane import ON_LINE, Polyline
from services.analytics.core.rules.crossing import LineCrossings
from shared.config.rules import Direction
from shared.domain.geometry import Box, Point
from shared.domain.targets import TargetClass, TrackedObject

STEP_NS = 200_000_000
START_NS = 1_700_000_000_000_000_000
BAND = 0.02
FULL_HEIGHT = (Point(0.5, 0.0), Point(0.5, 1.0))

coordinate = st.one_of(st.floats(0.0, 1.0), st.floats(0.47, 0.53), st.sampled_from([0.0, 0.48, 0.5, 0.52, 1.0]))
walks = st.lists(st.tuples(coordinate, st.floats(0.0, 1.0)), min_size=1, max_size=60)


def track(x: float, y: float, number: int = 1) -> TrackedObject:
    return TrackedObject(number, Box(x - 0.01, y - 0.1, x + 0.01, y), TargetClass.HUMAN, 0.9)


def crossings(line: LineCrossings, walk: list[tuple[float, float]], aspect: float = 1.0, first: int = 0) -> list[Direction]:
    return [
        crossing.direction
        for index, (x, y) in enumerate(walk, start=first)
        for crossing in line.step([track(x, y)], START_NS + index * STEP_NS, aspect)
    ]


def true_crossings(walk: list[tuple[float, float]], aspect: float) -> list[Direction]:
    """By the definition, for a line over the whole height: changes of the side last settled on, outside the band."""
    sides = []
    for x, _ in walk:
        foot = (x - 0.01 + x + 0.01) / 2  # as the box rounds it
        across = (min(max(foot, 1e-6), 1 - 1e-6) - 0.5) * aspect
        if abs(across) > BAND:
            sides.append(across > 0)
    return [Direction.A_TO_B if later else Direction.B_TO_A for sooner, later in pairwise(sides) if sooner != later]


@given(walks, st.sampled_from([1.0, 4 / 3, 16 / 9]))
def test_a_walk_counts_its_true_crossings(walk: list[tuple[float, float]], aspect: float) -> None:
    found = crossings(LineCrossings(FULL_HEIGHT, BAND), walk, aspect)
    assert found == true_crossings(walk, aspect)
    net = found.count(Direction.A_TO_B) - found.count(Direction.B_TO_A)
    assert net in (-1, 0, 1)  # final side less first side


@given(walks, st.integers(0, 60))
def test_a_state_that_moves_on_the_way_changes_nothing(walk: list[tuple[float, float]], cut: int) -> None:
    whole = crossings(LineCrossings(FULL_HEIGHT, BAND), walk)
    here, there = LineCrossings(FULL_HEIGHT, BAND), LineCrossings(FULL_HEIGHT, BAND)
    begun = crossings(here, walk[:cut])
    there.restore(json.loads(json.dumps(here.export())))
    assert begun + crossings(there, walk[cut:], first=cut) == whole


@given(walks)
def test_the_line_drawn_the_other_way_gives_the_opposite_directions(walk: list[tuple[float, float]]) -> None:
    forward = crossings(LineCrossings(FULL_HEIGHT, BAND), walk)
    backward = crossings(LineCrossings(FULL_HEIGHT[::-1], BAND), walk)
    opposite = {Direction.A_TO_B: Direction.B_TO_A, Direction.B_TO_A: Direction.A_TO_B}
    assert [opposite[direction] for direction in forward] == backward


@given(walks)
def test_a_line_of_many_points_is_the_line(walk: list[tuple[float, float]]) -> None:
    many = tuple(Point(0.5, share / 8) for share in range(9))
    assert crossings(LineCrossings(many, BAND), walk) == crossings(LineCrossings(FULL_HEIGHT, BAND), walk)


corner = st.tuples(st.integers(0, 8), st.integers(0, 8)).map(lambda at: Point(at[0] / 8, at[1] / 8))


@given(st.lists(corner, min_size=3, max_size=6, unique=True), st.lists(corner, min_size=2, max_size=20))
def test_a_closed_line_is_crossed_inwards_as_often_as_outwards_on_the_way_home(ring: list[Point], way: list[Point]) -> None:
    """Points on a coarse grid meet corners and edges exactly, where half-open tests would miscount if they were wrong."""
    line = Polyline([*ring, ring[0]], 1.0)
    off = [point for point in way if line.distance(point) > ON_LINE]
    home = [*off, *off[:1]]
    assert sum(line.crossings(p, q) for p, q in pairwise(home)) == 0


@given(st.lists(st.tuples(coordinate, st.floats(0.0, 1.0)), min_size=1, max_size=40), st.permutations([1, 2, 3]))
def test_tracks_do_not_disturb_each_other(walk: list[tuple[float, float]], order: list[int]) -> None:
    line = LineCrossings(FULL_HEIGHT, BAND)
    found: dict[int, list[Direction]] = {1: [], 2: [], 3: []}
    for index, (x, y) in enumerate(walk):
        places = {1: (x, y), 2: (1 - x, y), 3: (0.1, y)}
        for crossing in line.step([track(*places[number], number) for number in order], START_NS + index * STEP_NS, 1.0):
            found[crossing.track.track_id].append(crossing.direction)
    assert found[1] == crossings(LineCrossings(FULL_HEIGHT, BAND), walk)
    assert len(found[2]) == len(crossings(LineCrossings(FULL_HEIGHT, BAND), [(1 - x, y) for x, y in walk]))
    assert found[3] == []
