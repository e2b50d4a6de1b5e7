"""From a detector's class names to the three classes that rules know."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from shared.domain.targets import TargetClass

#: By COCO name. What has a motor of its own is a motor vehicle, a motorcycle too; what is not here is no target.
TARGET_OF_NAME: Mapping[str, TargetClass] = {
    "person": TargetClass.HUMAN,
    "bicycle": TargetClass.NON_MOTOR_VEHICLE,
    "car": TargetClass.MOTOR_VEHICLE,
    "motorcycle": TargetClass.MOTOR_VEHICLE,
    "bus": TargetClass.MOTOR_VEHICLE,
    "train": TargetClass.MOTOR_VEHICLE,
    "truck": TargetClass.MOTOR_VEHICLE,
}

#: Numbers of those names among COCO's 80, for models that carry no names.
COCO_NAMES: Mapping[int, str] = {0: "person", 1: "bicycle", 2: "car", 3: "motorcycle", 5: "bus", 6: "train", 7: "truck"}

#: Order of the targets in `groups`.
TARGETS: tuple[TargetClass, ...] = tuple(TargetClass)

#: `groups` of a class that is no target.
NO_TARGET = -1


def groups(names: Mapping[int, str], count: int) -> npt.NDArray[np.int64]:
    """For each of a model's `count` classes the index of its target in `TARGETS`, or `NO_TARGET`.

    Args:
        names: class number -> name; empty: COCO.
        count: how many classes the model's head has.
    """
    table = np.full(count, NO_TARGET, dtype=np.int64)
    for number, name in (names or COCO_NAMES).items():
        target = TARGET_OF_NAME.get(name.lower())
        if target is not None and 0 <= number < count:
            table[number] = TARGETS.index(target)
    return table
