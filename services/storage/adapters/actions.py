"""Commands of alarms, kept until they are carried out and their results are published. They survive a restart."""

from __future__ import annotations

from sqlalchemy import RowMapping, and_, delete, insert, literal, select, tuple_, update

from services.storage.adapters.catalogue import Catalogue
from services.storage.adapters.tables import actions, recordings
from services.storage.core.model import Kind, Span, State
from shared.domain.clock import NS_PER_S
from shared.messages import ActionKind, ActionMessage, ActionPhase

_BATCH = 256
#: Looked at this often, when a command comes, whether old ones can be forgotten.
_PRUNE_EVERY_NS = 3600 * NS_PER_S


class Actions:
    """The table of commands.

    Args:
        keep_ns: how long those are kept that were carried out, or failed, and reported.
    """

    def __init__(self, catalogue: Catalogue, keep_ns: int = 30 * 24 * 3600 * NS_PER_S) -> None:
        self._catalogue, self._keep_ns = catalogue, keep_ns
        self._pruned_ns: int | None = None

    async def accept(self, action: ActionMessage, now_ns: int) -> Span | None:
        """Keep a command. The same again changes nothing, but a later `to_ns` extends a RECORD command.

        Returns:
            The span that footage is now wanted of, if this is new.
        """
        from_ns, to_ns = action.from_ns or action.at_ns, action.to_ns or action.at_ns
        await self._prune(now_ns)
        async with self._catalogue.writing() as connection:
            old = (await connection.execute(select(actions).where(actions.c.id == action.action_id))).mappings().first()
            if old is None:
                await connection.execute(insert(actions).values(_values(action, from_ns, to_ns, now_ns)))
            elif action.action is ActionKind.RECORD and to_ns > old["to_ns"]:
                from_ns = min(from_ns, old["from_ns"])
                again = {"from_ns": from_ns, "to_ns": to_ns, "phase": ActionPhase.REQUESTED.value, "reported": False}
                await connection.execute(
                    update(actions).where(actions.c.id == action.action_id).values(**again, body=action.model_dump_json())
                )
            else:
                return None
            if action.action is not ActionKind.RECORD:
                return None
            # Footage that is here already becomes alarm footage; what comes later does when it is stored.
            await connection.execute(
                update(recordings)
                .where(
                    and_(
                        recordings.c.channel == action.channel,
                        recordings.c.start_ns < to_ns,
                        recordings.c.end_ns > from_ns,
                        recordings.c.state != State.DELETING.value,
                    )
                )
                .values(kind=Kind.ALARM.value)
            )
        return Span(action.action_id, action.channel, from_ns, to_ns)

    async def _prune(self, now_ns: int) -> None:
        """Forget old commands, now and then: the table grows by commands alone."""
        if self._pruned_ns is not None and 0 <= now_ns - self._pruned_ns < _PRUNE_EVERY_NS:
            return
        before_ns, settled = now_ns - self._keep_ns, actions.c.phase != ActionPhase.REQUESTED.value
        async with self._catalogue.writing() as connection:
            await connection.execute(
                delete(actions).where(settled, actions.c.reported, actions.c.to_ns < before_ns, actions.c.received_ns < before_ns)
            )
        self._pruned_ns = now_ns

    async def pending(self) -> list[tuple[ActionMessage, int]]:
        """All commands that wait, with the time of their arrival, oldest first. The message has the span as extended."""
        found: list[RowMapping] = []
        order = (actions.c.received_ns, actions.c.id)
        query = select(actions).where(actions.c.phase == ActionPhase.REQUESTED.value).order_by(*order).limit(_BATCH)
        async with self._catalogue.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
            found += rows
            while len(rows) == _BATCH:  # many may wait for footage that is to come: they must not hide those that can be done
                after = tuple_(*order) > tuple_(literal(rows[-1]["received_ns"]), literal(rows[-1]["id"]))
                rows = (await connection.execute(query.where(after))).mappings().all()
                found += rows
        return [
            (
                ActionMessage.model_validate_json(row["body"]).model_copy(update={"from_ns": row["from_ns"], "to_ns": row["to_ns"]}),
                row["received_ns"],
            )
            for row in found
        ]

    async def settle(self, action: ActionMessage, phase: ActionPhase, *, object_key: str = "", text: str = "") -> None:
        """It is done, or has failed for good. Not if it was extended meanwhile."""
        async with self._catalogue.writing() as connection:
            query = update(actions).where(actions.c.id == action.action_id, actions.c.to_ns == (action.to_ns or action.at_ns))
            await connection.execute(query.values(phase=phase.value, object_key=object_key, text=text))

    async def unreported(self) -> list[ActionMessage]:
        """Results to publish."""
        async with self._catalogue.reading() as connection:
            condition = and_(actions.c.phase != ActionPhase.REQUESTED.value, actions.c.reported.is_(False))
            rows = (
                (await connection.execute(select(actions).where(condition).order_by(actions.c.received_ns).limit(_BATCH))).mappings().all()
            )
        return [
            ActionMessage.model_validate_json(row["body"]).model_copy(
                update={
                    "phase": ActionPhase(row["phase"]),
                    "object_key": row["object_key"],
                    "text": row["text"],
                    "from_ns": row["from_ns"],
                    "to_ns": row["to_ns"],
                }
            )
            for row in rows
        ]

    async def reported(self, result: ActionMessage) -> None:
        async with self._catalogue.writing() as connection:
            query = update(actions).where(actions.c.id == result.action_id, actions.c.phase == result.phase.value)
            await connection.execute(query.values(reported=True))


def _values(action: ActionMessage, from_ns: int, to_ns: int, now_ns: int) -> dict[str, str | int | bool]:
    return {
        "id": action.action_id,
        "channel": action.channel,
        "kind": action.action.value,
        "phase": ActionPhase.REQUESTED.value,
        "at_ns": action.at_ns,
        "from_ns": from_ns,
        "to_ns": to_ns,
        "object_key": "",
        "text": "",
        "received_ns": now_ns,
        "reported": False,
        "body": action.model_dump_json(),
    }
