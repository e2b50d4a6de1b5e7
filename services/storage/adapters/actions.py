"""Commands of alarms, kept until they are carried out and their results are published. They survive a restart."""

from __future__ import annotations

from sqlalchemy import and_, insert, select, update

from services.storage.adapters.catalogue import Catalogue
from services.storage.adapters.tables import actions, recordings
from services.storage.core.model import Kind, Span, State
from shared.messages import ActionKind, ActionMessage, ActionPhase

_BATCH = 256
#: Commands that are looked at together: more than wait even where a whole site is without footage.
_PENDING = 4096


class Actions:
    """The table of commands."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def accept(self, action: ActionMessage, now_ns: int) -> Span | None:
        """Keep a command. The same again changes nothing, but a later `to_ns` extends a RECORD command.

        Returns:
            The span that footage is now wanted of, if this is new.
        """
        from_ns, to_ns = action.from_ns or action.at_ns, action.to_ns or action.at_ns
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

    async def pending(self) -> list[tuple[ActionMessage, int]]:
        """Commands that wait, with the time of their arrival, oldest first. The message has the span as extended."""
        async with self._catalogue.reading() as connection:
            query = select(actions).where(actions.c.phase == ActionPhase.REQUESTED.value).order_by(actions.c.received_ns).limit(_PENDING)
            rows = (await connection.execute(query)).mappings().all()
        return [
            (
                ActionMessage.model_validate_json(row["body"]).model_copy(update={"from_ns": row["from_ns"], "to_ns": row["to_ns"]}),
                row["received_ns"],
            )
            for row in rows
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
