"""How a channel is recorded, from its configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.storage.core.model import Kind, Span
from services.storage.core.placing import KindOf
from services.storage.core.recording import kind_of
from shared.config.channels import RecordingConfig, RecordMode
from shared.domain.schedule import Schedule, active


@dataclass(frozen=True, slots=True)
class ChannelMode:
    """How a channel is recorded, and into which bucket (as `Recording.bucket`)."""

    mode: RecordMode = RecordMode.ALWAYS
    schedule: Schedule | None = None
    bucket: str = ""

    @classmethod
    def of(cls, config: RecordingConfig, schedules: Mapping[str, Schedule], bucket: str) -> ChannelMode:
        return cls(config.mode, None if config.schedule is None else schedules[config.schedule], bucket)

    def kind_of(self, spans: Sequence[Span]) -> KindOf:
        def kind(start_ns: int, end_ns: int) -> Kind | None:
            in_schedule = self.schedule is not None and active(self.schedule, start_ns)
            return kind_of(self.mode, in_schedule=in_schedule, spans=spans, start_ns=start_ns, end_ns=end_ns)

        return kind
