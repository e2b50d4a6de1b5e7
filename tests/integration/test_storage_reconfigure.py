"""Storage takes a new configuration while it records."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.segments import Feed
from tests.support.storing import MIB, site, storing


@pytest.mark.integration
async def test_modes_and_limits_change_and_the_footage_of_others_goes_on(tmp_path: Path) -> None:
    before = site("door", "yard", storage={"file_s": 60})
    async with storing(tmp_path, before) as store:
        door, yard = Feed("door", 1), Feed("yard", 2)
        await store.keep(*door.take(2), *yard.take(2))
        recording = [channel.model_copy(update={"recording": new}) for channel, new in zip(before.channels, RECORDING, strict=True)]
        after = before.model_copy(
            update={"channels": tuple(recording), "storage": before.storage.model_copy(update={"quota_mode": True, "max_bytes": 64 * MIB})}
        )
        await store.service.reconfigure(after)
        await store.keep(*door.take(3), *yard.take(3))
        assert [(r["channel"], r["frames"]) for r in await store.recordings("door")] == [("door", 20)]  # alarm footage only from then on
        assert [(r["channel"], r["frames"]) for r in await store.recordings("yard")] == [("yard", 50)]  # one file: no gap
        _, limits, _ = await store.service.space()
        assert limits.quotas == {"yard": 32 * MIB}
        assert limits.max_bytes == 64 * MIB

        await store.service.reconfigure(before)
        await store.keep(*door.take(1), *yard.take(1))
        assert sum(r["frames"] for r in await store.recordings()) == 90
        assert (await store.service.space())[1].quotas == {}
    assert await store.check() == []


RECORDING = (
    site("door", recording={"mode": "alarm"}).channels[0].recording,
    site("yard", recording={"quota_bytes": 32 * MIB}).channels[0].recording,
)
