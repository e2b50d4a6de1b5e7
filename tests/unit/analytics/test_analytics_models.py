"""The model manager, from folders of its own."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from services.analytics.adapters.models import KnownModel, ModelManager, WheelSource
from shared.domain.errors import ModelError

BYTES = b"weights" * 1000


def known(*, url: str = "https://127.0.0.1:9/nothing", wheel: WheelSource | None = None, content: bytes = BYTES) -> KnownModel:
    return KnownModel("tiny", "tiny.pt", hashlib.sha256(content).hexdigest(), len(content), url, "MIT", "for tests", wheel)


def manager(tmp_path: Path, **settings: object) -> ModelManager:
    source = tmp_path / "usb" / "models"
    source.mkdir(parents=True, exist_ok=True)
    (source / "tiny.pt").write_bytes(BYTES)
    return ModelManager(tmp_path / "cache", [tmp_path / "usb"], [known(**settings)])  # type: ignore[arg-type]  # keyword settings of known()


def test_weights_come_from_an_offline_folder_and_stay_in_the_cache(tmp_path: Path) -> None:
    one = manager(tmp_path)
    assert one.list()[0].path is None
    told: list[float | None] = []
    path = one.get("tiny", lambda _what, share: told.append(share))
    assert path.read_bytes() == BYTES
    assert told[-1] == 1.0
    (tmp_path / "usb" / "models" / "tiny.pt").unlink()
    assert one.get("tiny") == path == one.list()[0].path


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    one = manager(tmp_path)
    one.get("tiny").write_bytes(BYTES[:-1] + b"?")
    assert one.get("tiny").read_bytes() == BYTES


def test_without_any_source_the_error_says_what_was_tried_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    one = ModelManager(tmp_path / "cache", (), [known()])
    with pytest.raises(ModelError) as caught:
        one.get("tiny")
    assert "downloading it failed" in str(caught.value)
    assert "offline_sources" in str(caught.value)
    assert not list((tmp_path / "cache").glob("tiny.pt"))


def test_a_file_with_other_bytes_is_not_taken(tmp_path: Path) -> None:
    one = manager(tmp_path, content=b"something else" * 500)
    with pytest.raises(ModelError):
        one.get("tiny")


def test_unknown_names_and_missing_files_are_told(tmp_path: Path) -> None:
    one = manager(tmp_path)
    with pytest.raises(ModelError, match="known: tiny"):
        one.get("huge")
    with pytest.raises(ModelError, match="no such file"):
        one.get(str(tmp_path / "mine.onnx"))
    (tmp_path / "mine.onnx").write_bytes(b"x")
    assert one.get(str(tmp_path / "mine.onnx")) == tmp_path / "mine.onnx"


def test_several_at_once_fetch_it_once(tmp_path: Path) -> None:
    fetched: list[str] = []
    threads = [
        threading.Thread(target=manager(tmp_path).get, args=("tiny", lambda what, share: fetched.append(what) if share == 1.0 else None))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 1
