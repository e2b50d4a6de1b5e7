"""What the alarm service does when something happens: an event, the result of an action, time passing, a user.

Each is one transaction on the alarm book. What it decided leaves afterwards: webhooks through the dispatcher, messages through the outbox.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import structlog

from services.alarms import metrics
from services.alarms.adapters.book import Book
from services.alarms.adapters.dispatcher import Dispatcher
from services.alarms.adapters.outbox import Outbox
from services.alarms.adapters.page import Page
from services.alarms.adapters.rows import Delivery
from services.alarms.adapters.webhook import cloud_event
from services.alarms.core import anti_dither, report
from services.alarms.core.arming import Arming
from services.alarms.core.handling import Step, first_step, is_news, later_step
from services.alarms.core.linkage import Change, LogEntry, Report, consequences, extend_at_ns
from services.alarms.core.listening import Listening
from services.alarms.core.place import Place
from services.alarms.core.record import Alarm
from shared.config.rules import Linkage
from shared.config.services import AlarmsConfig
from shared.domain.clock import Clock, ns_to_seconds, seconds_to_ns
from shared.messages import ActionKind, ActionMessage, ActionPhase, AlarmMessage, ChannelMessage, EventMessage
from shared.obs.trace import following
from shared.topics import ACTIONS, ALARMS, Topic

log = structlog.get_logger(__name__)

#: Of alarms whose rule is gone from the configuration: they end, and nothing else.
_NO_LINKAGE = Linkage(log=True, show_message=False, record=None, snapshot=None, webhooks=())


@dataclass
class _Decided:
    """What a transaction decided, to leave when it is through."""

    deliveries: list[Delivery] = field(default_factory=list)
    messages: list[tuple[Topic[Any], ChannelMessage]] = field(default_factory=list)


class Keeper:
    """Keeps the alarms. Called by one task per channel at a time."""

    def __init__(
        self, arming: Arming, place: Place, book: Book, dispatcher: Dispatcher, outbox: Outbox, clock: Clock, settings: AlarmsConfig
    ) -> None:
        self._arming, self._place, self._book = arming, place, book
        self._dispatcher, self._outbox, self._clock = dispatcher, outbox, clock
        self._settings = settings
        self._lost_after_ns = seconds_to_ns(settings.lost_after_s)
        self._listening = Listening()
        self._next_due_ns: int | None = 0
        self._sets = self._sets_seen = 0  # how often this machine's clock was set, and how often the timers have taken note of

    def reconfigure(self, arming: Arming, place: Place, settings: AlarmsConfig) -> None:
        """Go by these from here on; between two transactions. Alarms whose rule is gone end, and do nothing else."""
        self._arming, self._place, self._settings = arming, place, settings
        self._lost_after_ns = seconds_to_ns(settings.lost_after_s)
        self._next_due_ns = 0  # look anew: the periods may be others

    def listen(self) -> None:
        """From now on messages are heard: what was silent before is not lost for that."""
        self._listening.begin(self._clock.now_ns(), self._clock.monotonic_ns())

    async def on_event(self, event: EventMessage) -> None:
        """An event, or more of one. Heard again, it changes nothing. While the book is away it is tried again."""
        await self._outbox.room()
        await self._book.patiently(lambda: self._handle_event(event))

    async def on_action(self, action: ActionMessage) -> None:
        """What became of a linkage action."""
        if action.phase is not ActionPhase.REQUESTED:
            await self._outbox.room()
            await self._book.patiently(lambda: self._handle_result(action))

    async def acknowledge(self, alarm_id: str, user: str, note: str) -> Alarm | None:
        """A user has seen the alarm. The first to say so stays. None: there is no such alarm.

        Raises:
            CatalogueError: the book refused.
        """
        decided, now_ns = _Decided(), self._clock.now_ns()
        async with self._book.write() as page:
            alarm = await page.alarm(alarm_id)
            if alarm is None or alarm.acknowledged_by:
                return alarm
            alarm = alarm.acknowledged(user, note, now_ns)
            await page.note([LogEntry(now_ns, alarm.channel, alarm_id, f"{self._place.describe(alarm)} acknowledged by {user}")])
            await self._save(page, alarm, self._linkage(alarm), decided, new=False)
        self._leave(decided)
        return alarm

    async def on_tick(self) -> None:
        """Time has passed: alarms end, and the footage of those that last is asked for again. Cheap when nothing is due.

        Raises:
            CatalogueError: the book refused.
        """
        now_ns, sets = self._now_ns(), self._sets
        was_set = sets != self._sets_seen
        if not was_set and (self._next_due_ns is None or now_ns < self._next_due_ns):
            return
        decided = _Decided()
        async with self._book.write() as page:
            for alarm in await (page.open() if was_set else page.due(now_ns)):
                await self._look_at(page, anti_dither.waited_from(alarm, now_ns, was_set=was_set), now_ns, decided)
            next_due_ns = await page.next_due_ns()
            metrics.OPEN.set(await page.count_open())
        self._next_due_ns, self._sets_seen = next_due_ns, sets  # it is true only now: after a failure they look again
        self._leave(decided)

    async def forget_old(self) -> None:
        """Drop from the book what is older than its time.

        Raises:
            CatalogueError: the book refused.
        """
        async with self._book.write() as page:
            await page.prune(self._clock.now_ns(), self._settings)

    def _now_ns(self) -> int:
        """This machine's time. Whether it was set is noted: the timers look at all that lasts then."""
        now_ns = self._clock.now_ns()
        self._sets += self._listening.look(now_ns, self._clock.monotonic_ns())
        return now_ns

    # -- inside a transaction

    async def _handle_event(self, event: EventMessage) -> None:
        decided, now_ns = _Decided(), self._now_ns()
        async with self._book.write() as page:
            seen = await page.seen(event.event_id)
            if not is_news(event, seen):
                metrics.EVENTS.labels(event.channel, "known").inc()
                return
            step = await self._first(page, event, now_ns) if seen is None else await self._later(page, event, seen.alarm_id, now_ns)
            if step is not None:
                await self._carry_out(page, step, now_ns, decided)
            await page.save_event(event, None if step is None else step.alarm.alarm_id, new=seen is None)
        self._leave(decided)
        metrics.EVENTS.labels(event.channel, "stored" if step is None else step.change.value).inc()
        if step is not None and step.change is Change.RAISED:
            metrics.EVENT_TO_ALARM.observe(max(0.0, ns_to_seconds(self._clock.now_ns() - event.at_ns)))

    async def _first(self, page: Page, event: EventMessage, now_ns: int) -> Step | None:
        policy = self._arming.policy(event)
        if policy is None:
            return None
        records = await page.records(event.channel, event.source, event.start_ns, policy.period_ns)
        return first_step(event, policy, records, now_ns)

    async def _later(self, page: Page, event: EventMessage, alarm_id: str | None, now_ns: int) -> Step | None:
        alarm = None if alarm_id is None else await page.alarm(alarm_id)
        return None if alarm is None else later_step(event, alarm, now_ns)

    async def _handle_result(self, action: ActionMessage) -> None:
        decided, now_ns = _Decided(), self._clock.now_ns()
        async with self._book.write() as page:
            alarm = await page.alarm(action.alarm_id)
            if alarm is None:
                return
            if action.phase is ActionPhase.FAILED:
                text = f"{self._place.describe(alarm)}: {action.action.value} failed: {action.text}"
                await page.note([LogEntry(now_ns, action.channel, alarm.alarm_id, text)])
            elif action.action is ActionKind.SNAPSHOT:
                pictured = alarm.pictured(action.object_key, own_channel=action.channel == alarm.channel, now_ns=now_ns)
                if pictured != alarm:
                    await self._save(page, pictured, self._linkage(alarm), decided, new=False)
        self._leave(decided)

    async def _look_at(self, page: Page, alarm: Alarm, now_ns: int, decided: _Decided) -> None:
        over = anti_dither.due_ns(alarm, self._lost_after_ns, self._listening.since_ns) <= now_ns
        step = Step(Change.ENDED, anti_dither.ended(alarm, now_ns)) if over else Step(Change.GOES_ON, alarm)
        await self._carry_out(page, step, now_ns, decided)

    async def _carry_out(self, page: Page, step: Step, now_ns: int, decided: _Decided) -> None:
        """Save the alarm, and write down all that its change makes happen."""
        linkage = self._linkage(step.alarm)
        todo = consequences(step.alarm, linkage, step.change, self._place, now_ns)
        tell = step.change in (Change.RAISED, Change.HIT, Change.RESUMED, Change.ENDED)
        await self._save(page, todo.alarm, linkage, decided, new=step.change is Change.RAISED, commands=todo.commands, tell=tell)
        await page.note(todo.log)
        for told in todo.reports:
            queued = await page.queue(self._delivery(told, todo.alarm, linkage, now_ns))
            if queued is not None:
                decided.deliveries.append(queued)
        metrics.ALARMS.labels(step.alarm.channel, step.change.value).inc()

    async def _save(
        self,
        page: Page,
        alarm: Alarm,
        linkage: Linkage,
        decided: _Decided,
        *,
        new: bool,
        commands: tuple[ActionMessage, ...] = (),
        tell: bool = True,
    ) -> None:
        due_ns = self._due_ns(alarm, linkage)
        if due_ns is not None:
            self._next_due_ns = due_ns if self._next_due_ns is None else min(self._next_due_ns, due_ns)
        await page.save_alarm(alarm, due_ns, new=new)
        messages: list[tuple[Topic[Any], ChannelMessage]] = [(ALARMS, alarm.as_message())] if tell else []
        messages += [(ACTIONS, command) for command in commands]
        await page.publish(messages)
        decided.messages += messages

    def _delivery(self, told: Report, alarm: Alarm, linkage: Linkage, now_ns: int) -> Delivery:
        return Delivery(
            sequence=0,
            delivery_id=report.delivery_id(told.centre, report.report_id(alarm)),
            centre=told.centre,
            channel=alarm.channel,
            alarm_id=alarm.alarm_id,
            change=told.state.value,
            capture_ns=alarm.at_ns,
            body=cloud_event(report.attributes(alarm, self._place), report.data(alarm, linkage, self._place)),
            queued_ns=now_ns,
            deadline_ns=self._dispatcher.deadline_ns(told.centre, now_ns),
            next_ns=now_ns,
        )

    def _linkage(self, alarm: Alarm) -> Linkage:
        policy = self._arming.of(alarm.kind, alarm.channel, alarm.source)
        return _NO_LINKAGE if policy is None else policy.linkage

    def _due_ns(self, alarm: Alarm, linkage: Linkage) -> int | None:
        """When the timers look at it again; None: it has ended."""
        if not anti_dither.is_open(alarm):
            return None
        extend_ns = extend_at_ns(alarm, linkage)
        end_ns = anti_dither.due_ns(alarm, self._lost_after_ns, self._listening.since_ns)
        return end_ns if extend_ns is None else min(end_ns, extend_ns)

    # -- after it

    def _leave(self, decided: _Decided) -> None:
        self._dispatcher.submit(decided.deliveries)
        self._outbox.wrote(len(decided.messages))
        for _, message in decided.messages:
            _log(message)


def _log(message: ChannelMessage) -> None:
    """A line about what was decided, with the trace of the alarm, whoever's trace is followed now."""
    with following(message.trace):
        if isinstance(message, AlarmMessage):
            log.info("alarm", state=message.state.value, channel=message.channel, alarm=message.alarm_id)
        elif isinstance(message, ActionMessage):
            log.debug("action requested", action=message.action.value, channel=message.channel, alarm=message.alarm_id)
