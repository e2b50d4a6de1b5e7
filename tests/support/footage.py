"""Where the real footage is. It is no part of the repository: `VEDETTE_TEST_DATA` names its folder, by default beside the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("VEDETTE_TEST_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data"))


def footage(name: str) -> Path:
    """A file of the footage; the test skips, and says what would make it run, when it is missing."""
    file = ROOT / "video" / name
    if not file.exists():
        pytest.skip(f"{name} is missing: set VEDETTE_TEST_DATA to the folder that holds video/{name}")
    return file
