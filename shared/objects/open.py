"""Which object store the configuration asks for: the only place that knows both."""

from __future__ import annotations

from pathlib import Path

from shared.config.services import LocalObjects, ObjectsConfig
from shared.objects.local import LocalObjectStore
from shared.objects.port import ObjectStore


def object_store(config: ObjectsConfig, data_dir: Path, bucket: str) -> ObjectStore:
    """A store that has not been started. Local buckets are folders of `root`, by default `data_dir`/objects."""
    if isinstance(config, LocalObjects):
        return LocalObjectStore((config.root or data_dir / "objects") / bucket)
    from shared.objects.minio import MinioObjectStore

    return MinioObjectStore(config, bucket)
