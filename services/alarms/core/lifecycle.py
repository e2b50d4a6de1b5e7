"""The life of an alarm: every transition, in one table.

`raised` is said once, when the alarm begins; whatever happens to it while it lasts makes it `updated`. Being acknowledged is not a
state but a flag beside it: an alarm can be acknowledged while it lasts and after it, once.
"""

from __future__ import annotations

from enum import StrEnum

from shared.messages import AlarmState


class Trigger(StrEnum):
    """What happens to an alarm."""

    HIT = "hit"  # an event of its source, within the anti-dither period
    HEARD = "heard"  # an event of it goes on
    QUIET = "quiet"  # no event goes on, and the anti-dither period has passed
    ACKNOWLEDGED = "acknowledged"  # a user has seen it
    PICTURED = "pictured"  # its snapshot is stored


_RAISED, _UPDATED, _ENDED = AlarmState.RAISED, AlarmState.UPDATED, AlarmState.ENDED

#: (state, trigger) -> state; None: there is no alarm yet.
TRANSITIONS: dict[tuple[AlarmState | None, Trigger], AlarmState] = {
    (None, Trigger.HIT): _RAISED,
    (_RAISED, Trigger.HIT): _UPDATED,
    (_UPDATED, Trigger.HIT): _UPDATED,
    (_ENDED, Trigger.HIT): _UPDATED,  # the event was handled late: by capture time it belongs to this alarm, which goes on
    (_RAISED, Trigger.HEARD): _RAISED,
    (_UPDATED, Trigger.HEARD): _UPDATED,
    (_ENDED, Trigger.HEARD): _UPDATED,  # it was taken for lost, and was not
    (_RAISED, Trigger.QUIET): _ENDED,
    (_UPDATED, Trigger.QUIET): _ENDED,
    (_RAISED, Trigger.ACKNOWLEDGED): _UPDATED,
    (_UPDATED, Trigger.ACKNOWLEDGED): _UPDATED,
    (_ENDED, Trigger.ACKNOWLEDGED): _ENDED,
    (_RAISED, Trigger.PICTURED): _UPDATED,
    (_UPDATED, Trigger.PICTURED): _UPDATED,
    (_ENDED, Trigger.PICTURED): _ENDED,
}


def after(state: AlarmState | None, trigger: Trigger) -> AlarmState:
    """The state after `trigger`.

    Raises:
        ValueError: that cannot happen in `state`.
    """
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise ValueError(f"an alarm that is {state or 'not there'} cannot be {trigger}") from None
