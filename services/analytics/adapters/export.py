"""From .pt weights to an .onnx file of one input size, once, kept in the cache.

The export runs in a process of its own: torch never enters this one, its memory goes when it ends, and a crash in it is an error here. Both
OpenVINO and ONNX Runtime read the same file.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import threading
from pathlib import Path

from filelock import FileLock

from services.analytics.adapters.models import LOCK_TIMEOUT_S, Progress, fresh_folder, no_progress, sha256_of
from services.analytics.adapters.ultralytics_engine import quiet_environment
from shared.domain.errors import ModelError

#: Raise it when the way of exporting changes.
EXPORT_VERSION = 1
EXPORT_TIMEOUT_S = 900


def export_path(weights: Path, *, input_width: int, input_height: int, cache: Path) -> Path:
    """Where the .onnx file of `weights` for an input of this size in pixels belongs, whether or not it is there.

    Its name holds what it depends on: the weights' digest, Ultralytics' version and the size.

    Raises:
        ModelError: Ultralytics is not installed.
    """
    try:
        version = importlib.metadata.version("ultralytics")
    except importlib.metadata.PackageNotFoundError as error:
        raise ModelError(
            "exporting .pt weights needs the package `ultralytics`", where=str(weights), hint="install `vedette[analytics]`"
        ) from error
    name = f"{weights.stem}-{sha256_of(weights)[:16]}-{input_width}x{input_height}-u{version}-v{EXPORT_VERSION}.onnx"
    return cache / "exported" / name


def exported(weights: Path, *, input_width: int, input_height: int, cache: Path, progress: Progress = no_progress) -> Path:
    """The .onnx file of `weights` for an input of this size in pixels; exported first when the cache has none.

    Two processes at once are safe: one exports, the other waits for it. What an export that was killed has left is removed.

    Raises:
        ModelError: Ultralytics is not installed, or it failed.
    """
    target = export_path(weights, input_width=input_width, input_height=input_height, cache=cache)
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock", timeout=LOCK_TIMEOUT_S):
        if not target.is_file():
            with fresh_folder(target.parent, f".export-{target.stem}-") as folder:
                _export(weights, target, folder, input_width, input_height, progress)
    return target


def _export(weights: Path, target: Path, folder: Path, input_width: int, input_height: int, progress: Progress) -> None:
    config_dir = (target.parents[1] / "ultralytics").absolute()
    config_dir.mkdir(parents=True, exist_ok=True)
    result = folder.absolute() / "result.onnx"
    command = [sys.executable, "-m", "services.analytics.adapters.export_process", str(weights.absolute()), str(result)]
    command += [str(input_width), str(input_height), str(config_dir)]
    output = _run(command, folder, module_environment() | quiet_environment(config_dir), progress)
    if not result.is_file():
        raise ModelError(f"exporting the weights failed: {output[-1] if output else 'no reason given'}", where=str(weights))
    result.replace(target)


def module_environment() -> dict[str, str]:
    """The environment in which another interpreter finds our modules and the packages that this one finds."""
    root = Path(__file__).parents[3]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}


def _run(command: list[str], folder: Path, environment: dict[str, str], progress: Progress) -> list[str]:
    """Run to the end, telling its progress; the last lines of its output."""
    lines: list[str] = []
    with subprocess.Popen(  # noqa: S603  # this interpreter and a module of ours
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        limit = threading.Timer(EXPORT_TIMEOUT_S, process.kill)
        limit.start()
        try:
            for line in process.stdout:
                mark, _, share = line.strip().partition(" ")
                if mark == "PROGRESS":
                    progress("exporting the model", float(share))
                elif line.strip():
                    lines = [*lines[-20:], line.strip()]
        except BaseException:
            process.kill()  # whoever waits has given up
            raise
        finally:
            limit.cancel()
    return lines
