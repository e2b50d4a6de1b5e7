"""What may be deleted: rows of recordings and snapshots, looked up for the policy to choose from."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.storage.adapters.catalogue import Catalogue
from services.storage.adapters.ledger import Ledger
from services.storage.adapters.snapshots import Snapshot, Snapshots
from services.storage.core.clock_watch import ClockWatch
from services.storage.core.model import Recording, State
from services.storage.core.policy import Item, Limits, Shortfall, oldest
from services.storage.core.recording import CLAIM_WINDOW_NS
from services.storage.core.turns import Turns
from shared.domain.errors import ObjectStoreError

#: Candidates looked at in one round.
_WINDOW = 256


@dataclass(slots=True)
class Refused:
    """Buckets, as rows name them, that refused a delete, and why. Nothing more is marked there until what is has gone."""

    recordings: dict[str, ObjectStoreError] = field(default_factory=dict)
    pictures: dict[str, ObjectStoreError] = field(default_factory=dict)

    def tell(self) -> None:
        """Raise what one of them said."""
        for error in (*self.recordings.values(), *self.pictures.values()):
            raise error


@dataclass(slots=True)
class Found:
    """Candidates, as rows and as the policy sees them."""

    recordings: dict[str, Recording]
    pictures: dict[str, Snapshot]
    items: list[Item] = field(default_factory=list)


class Candidates:
    """The oldest of what the policy may choose from; none that lie in a bucket that has refused."""

    def __init__(self, catalogue: Catalogue, snapshots: Snapshots, ledger: Ledger, *, objects_on_disk: bool) -> None:
        """`objects_on_disk`: the object store's space is this disk's."""
        self._catalogue, self._snapshots, self._ledger = catalogue, snapshots, ledger
        self._objects_on_disk = objects_on_disk

    async def to_retire(self, limits: Limits, refused: Refused, clock: ClockWatch, order: Turns) -> Found:
        """What may have to go whether room is needed or not."""
        recordings = await self._catalogue.outdated(
            provisional_before_ns=clock.known_ns(CLAIM_WINDOW_NS) - CLAIM_WINDOW_NS,
            channel_before_ns={channel: clock.settled_ns - keep_ns for channel, keep_ns in limits.keep_ns.items()},
            limit=_WINDOW,
            but=refused.recordings,
        )
        unlocked = self._ledger.unlocked()
        over = [channel for channel, quota in limits.quotas.items() if unlocked.get(channel, 0) > quota]
        for channel in over:
            recordings += await self._catalogue.oldest(channel=channel, limit=_WINDOW, but=refused.recordings, order=order)
        pictures: list[Snapshot] = []
        for channel in over:
            pictures += await self._snapshots.oldest(_WINDOW, channel=channel, but=refused.pictures, order=order)
        for channel in limits.keep_ns:
            pictures += await self._snapshots.oldest(_WINDOW, channel=channel, but=refused.pictures)
        found = Found({recording.id: recording for recording in recordings}, {picture.object_key: picture for picture in pictures})
        found.items = [*map(self._item, found.recordings.values()), *map(self._picture, found.pictures.values())]
        return found

    async def of_full_groups(self, limits: Limits, refused: Refused, order: Turns) -> Found:
        """The oldest of each storage group that holds more than its own limit."""
        found, used = Found({}, {}), self._ledger.unlocked_in()
        for bucket, limit in limits.groups.items():
            if used.get(bucket, 0) > limit:
                recordings = await self._catalogue.oldest(bucket=bucket, limit=_WINDOW, but=refused.recordings, order=order)
                pictures = await self._snapshots.oldest(_WINDOW, bucket=bucket, but=refused.pictures, order=order)
                found.recordings |= {recording.id: recording for recording in recordings}
                found.pictures |= {picture.object_key: picture for picture in pictures}
                found.items += oldest([list(map(self._item, recordings)), list(map(self._picture, pictures))], _WINDOW, order)
        return found

    async def for_room(self, missing: Shortfall, refused: Refused, order: Turns) -> Found:
        """The oldest that making room may choose from."""
        if not missing:
            return Found({}, {})
        # Where objects are elsewhere, a full disk is helped only by what is still on it.
        state = State.CLOSED if not self._objects_on_disk and not missing.total_bytes else None
        recordings = await self._catalogue.oldest(limit=_WINDOW, state=state, but=refused.recordings, order=order)
        pictures = await self._snapshots.oldest(_WINDOW, but=refused.pictures, order=order) if state is None else []
        found = Found({recording.id: recording for recording in recordings}, {picture.object_key: picture for picture in pictures})
        found.items = oldest([list(map(self._item, recordings)), list(map(self._picture, pictures))], _WINDOW, order)
        return found

    def _item(self, recording: Recording) -> Item:
        return Item(
            recording.id,
            recording.channel,
            recording.start_ns,
            recording.end_ns,
            recording.size_bytes,
            recording.locked,
            self._objects_on_disk or recording.state is State.CLOSED,
            recording.kind,
            recording.bucket,
        )

    def _picture(self, snapshot: Snapshot) -> Item:
        return Item(
            snapshot.object_key, snapshot.channel, snapshot.at_ns, snapshot.at_ns, snapshot.size_bytes, on_disk=self._objects_on_disk,
            bucket=snapshot.bucket,
        )  # fmt: skip
