"""Which targets a rule looks at: by class and by size."""

from __future__ import annotations

from collections.abc import Sequence

from shared.config.rules import SizeFilter
from shared.domain.geometry import Box
from shared.domain.targets import TargetClass, TrackedObject


def fits(size: SizeFilter, box: Box) -> bool:
    """Whether a box is neither too small nor too large; both ends included."""
    return size.min_width <= box.width <= size.max_width and size.min_height <= box.height <= size.max_height


def accepted(tracks: Sequence[TrackedObject], targets: Sequence[TargetClass], size: SizeFilter) -> list[TrackedObject]:
    """The tracks of a wanted class (`targets` empty: any) and size."""
    return [track for track in tracks if (not targets or track.target in targets) and fits(size, track.box)]
