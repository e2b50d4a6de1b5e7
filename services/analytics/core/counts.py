"""The totals of all counting rules of a site, as of a moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time

from services.analytics.core.channel import ChannelAnalysis
from services.analytics.core.rules.counting import Counts, day_start_ns
from shared.config.rules import PeopleCountingRule
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S

#: A day that begins later than this from now was counted while a clock was ahead. One that begins sooner may only be ahead of our clock.
AHEAD_NS = 24 * 3600 * NS_PER_S


@dataclass(frozen=True, slots=True)
class RuleCounts:
    """Totals of one rule of one channel since `since_ns`, when its day began. `as_of_ns`: its newest frame's capture time; 0: none yet."""

    channel: str
    rule: str
    enter: int
    leave: int
    stay: int
    since_ns: int
    as_of_ns: int = 0


def counts_of(site: SiteConfig, analyses: Mapping[str, ChannelAnalysis], now_ns: int) -> list[RuleCounts]:
    """Every enabled counting rule of the site. A day that is over counts nothing any more, nor does that of a clock that was ahead,
    also when no frame has come since.

    Args:
        analyses: channels by id, as far as they have ever had a frame.
    """
    found = []
    for channel in site.channels:
        for rule in channel.rules:
            if not isinstance(rule, PeopleCountingRule) or not rule.enabled:
                continue
            counts = analyses[channel.id].counts().get(rule.id, Counts()) if channel.id in analyses else Counts()
            today_ns = day_start_ns(now_ns, time.fromisoformat(rule.reset_at), site.site.zone)
            if not today_ns <= counts.since_ns <= now_ns + AHEAD_NS:
                counts = Counts(since_ns=today_ns)
            as_of_ns = analyses[channel.id].time_ns if channel.id in analyses else 0
            found.append(RuleCounts(channel.id, rule.id, counts.enter, counts.leave, counts.stay, counts.since_ns, as_of_ns))
    return found
