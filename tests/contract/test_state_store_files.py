"""The states of channels in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.analytics.adapters.state_store import StateFiles
from tests.contract.state_store_contract import OpenStore, StateStoreContract, state


@pytest.fixture
def stores(tmp_path: Path) -> OpenStore:
    return lambda: StateFiles(tmp_path / "analytics")


class TestStateFiles(StateStoreContract):
    pass


async def test_a_file_without_a_generation_is_of_the_version_before(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"version": 1, "time_ns": 4}', encoding="utf-8")
    claim = (await StateFiles(tmp_path).claim(["a"]))["a"]
    assert claim.state == {"version": 1, "time_ns": 4}


async def test_a_file_that_cannot_be_read_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{half", encoding="utf-8")
    store = StateFiles(tmp_path)
    claim = (await store.claim(["a"]))["a"]
    assert claim.state is None
    assert (tmp_path / "a.unreadable").read_text(encoding="utf-8") == "{half"
    await store.save("a", claim.generation, state(1))
    assert await store.load(["a"]) == {"a": state(1)}
