"""What every store of channels' states promises, as tests. Each module that inherits `StateStoreContract` gives the fixture `stores`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from services.analytics.state import StateMoved, StateStore

#: Opens the same store once more, as another process would.
OpenStore = Callable[[], StateStore]


def state(capture_ns: int, **more: Any) -> dict[str, Any]:
    return {"version": 1, "time_ns": capture_ns, "told": [], "rules": {"door": {"enter": 5}}, "name": "Tür 1"} | more


class StateStoreContract:
    async def test_what_was_saved_is_given_to_who_claims_next(self, stores: OpenStore) -> None:
        first, second = stores(), stores()
        claim = (await first.claim(["a"]))["a"]
        assert claim.state is None
        await first.save("a", claim.generation, state(7))
        await first.save("a", claim.generation, state(9))
        taken = (await second.claim(["a", "b"]))["a"]
        assert taken.state == state(9)
        assert taken.generation == claim.generation + 1

    async def test_who_has_lost_a_channel_cannot_overwrite_it(self, stores: OpenStore) -> None:
        first, second = stores(), stores()
        old = (await first.claim(["a"]))["a"].generation
        await first.save("a", old, state(1))
        new = (await second.claim(["a"]))["a"].generation
        await second.save("a", new, state(2))
        with pytest.raises(StateMoved):
            await first.save("a", old, state(3))
        assert await first.load(["a"]) == {"a": state(2)}
        await second.save("a", new, state(4))
        assert await first.load(["a"]) == {"a": state(4)}

    async def test_who_claims_again_without_another_between_sees_it_by_the_generation(self, stores: OpenStore) -> None:
        store = stores()
        before = (await store.claim(["a"]))["a"].generation
        assert (await store.claim(["a"]))["a"].generation == before + 1

    async def test_channels_are_claimed_each_for_itself(self, stores: OpenStore) -> None:
        first, second = stores(), stores()
        claims = await first.claim(["a", "b"])
        await second.claim(["a"])
        await first.save("b", claims["b"].generation, state(5))
        with pytest.raises(StateMoved):
            await first.save("a", claims["a"].generation, state(5))

    async def test_what_was_never_saved_has_no_state(self, stores: OpenStore) -> None:
        store = stores()
        assert await store.claim([]) == {}
        assert await store.load(["nobody"]) == {}
        await store.claim(["a"])
        assert await store.load(["a"]) == {}
        assert (await stores().claim(["a"]))["a"].state is None
