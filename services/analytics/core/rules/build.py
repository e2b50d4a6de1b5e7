"""From a rule's configuration to its state machine."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from services.analytics.core.rules.base import Rule
from services.analytics.core.rules.counting import PeopleCounting
from services.analytics.core.rules.intrusion import Intrusion
from services.analytics.core.rules.smd import Smd
from services.analytics.core.rules.tripwire import Tripwire
from shared.config.rules import AnyRule, IntrusionRule, PeopleCountingRule, SmdRule, TripwireRule


def build(config: AnyRule, zone: ZoneInfo) -> Rule:
    """A fresh rule. `zone`: the site's time zone, in which counting days begin."""
    match config:
        case TripwireRule():
            return Tripwire(config)
        case IntrusionRule():
            return Intrusion(config)
        case SmdRule():
            return Smd(config)
        case PeopleCountingRule():
            return PeopleCounting(config, zone)
