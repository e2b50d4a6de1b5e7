"""Which events become alarms: those of enabled rules inside their arming schedule, and exceptions, always."""

from __future__ import annotations

from dataclasses import dataclass

from shared.config.rules import Linkage, Rule
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S, seconds_to_ns
from shared.domain.schedule import Schedule, active
from shared.messages import EventKind, EventMessage

#: Exceptions have no rule: they are logged and shown, and merged like those of a rule with the usual period.
EXCEPTION_PERIOD_NS = 5 * NS_PER_S
EXCEPTION_LINKAGE = Linkage(log=True, show_message=True, record=None, snapshot=None, webhooks=())


@dataclass(frozen=True, slots=True)
class Policy:
    """What becomes of the events of one source. `schedule` None: always armed."""

    period_ns: int
    linkage: Linkage
    schedule: Schedule | None = None

    def armed(self, time_ns: int) -> bool:
        """Whether an event at that capture time becomes an alarm."""
        return self.schedule is None or active(self.schedule, time_ns)


_EXCEPTION = Policy(EXCEPTION_PERIOD_NS, EXCEPTION_LINKAGE)


class Arming:
    """The policies of a site."""

    def __init__(self, site: SiteConfig) -> None:
        zone = site.site.zone
        schedules = {name: schedule.evaluable(site.holidays, zone) for name, schedule in site.schedules.items()}
        self._policies = {
            (channel.id, rule.id): _policy(rule, schedules) for channel in site.channels for rule in channel.rules if rule.enabled
        }

    def policy(self, event: EventMessage) -> Policy | None:
        """The policy of an event's source; None: no rule of that name, so that nobody asked for alarms."""
        return self.of(event.kind, event.channel, event.source)

    def of(self, kind: EventKind, channel: str, source: str) -> Policy | None:
        """The policy of a source."""
        return _EXCEPTION if kind is EventKind.EXCEPTION else self._policies.get((channel, source))


def _policy(rule: Rule, schedules: dict[str, Schedule]) -> Policy:
    schedule = None if rule.arming is None else schedules[rule.arming]
    return Policy(seconds_to_ns(rule.anti_dither_s), rule.linkage, schedule)
