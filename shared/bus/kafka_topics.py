"""The topics of a Kafka cluster: made as declared where they are missing, and kept to what the site wants of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic  # type: ignore[import-untyped]  # aiokafka is untyped
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType  # type: ignore[import-untyped]  # as above
from aiokafka.errors import TopicAlreadyExistsError, for_code  # type: ignore[import-untyped]  # as above

from shared.bus.kafka_settings import OVERHEAD_BYTES, REQUEST_TIMEOUT_MS
from shared.config.services import KafkaBus as KafkaConfig
from shared.domain.clock import NS_PER_MS, Clock
from shared.domain.errors import BusError, BusUnavailable, ConfigError
from shared.topics import FRAMES, MIB, SEGMENTS, Topic

log = structlog.get_logger(__name__)

#: The active log segment is never deleted: small ones, so that retention by bytes and minutes is kept. On disk per partition.
LOG_SEGMENT_BYTES = 128 * MIB
METADATA_RETRY_S = 0.05
_RETENTION_BYTES = "retention.bytes"
#: By whose clock messages are kept. What says nothing of a limit is refused from an hour ahead on.
_BROKERS_TIME = {"message.timestamp.type": "LogAppendTime"}
_PUBLISHERS_TIME = {"message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": str(2**63 - 1)}
#: `config_source` of a setting that the topic itself has (org.apache.kafka.clients.admin.ConfigEntry), not the broker's default.
_OF_THE_TOPIC = 1


class KafkaTopics:
    """Those of one bus."""

    def __init__(self, config: KafkaConfig, clock: Clock, topics: Sequence[Topic[Any]], *, client_id: str, where: str) -> None:
        self._config, self._clock, self._topics, self._client_id, self._where = config, clock, tuple(topics), client_id, where
        names = {topic.name for topic in self._topics}
        wanted = {SEGMENTS.name: config.retention.segments_bytes, FRAMES.name: config.retention.frames_bytes}
        #: What the site says, by topic.
        self._retention = {name: str(bytes_) for name, bytes_ in wanted.items() if bytes_ is not None and name in names}

    async def ensure(self) -> None:
        """Make those that are missing, check the others, and set what the site says of them.

        Raises:
            ConfigError: a topic has other partitions than are needed.
            BusError, KafkaError, OSError: not now.
        """
        admin = AIOKafkaAdminClient(
            bootstrap_servers=list(self._config.brokers), client_id=self._client_id, request_timeout_ms=REQUEST_TIMEOUT_MS
        )
        try:
            await admin.start()
            answer = await admin.create_topics([self._declared(topic) for topic in self._topics])
            for name, code, *reason in answer.topic_errors:
                if code not in (0, TopicAlreadyExistsError.errno):
                    raise BusError(f"topic {name} cannot be created: error {code} {reason}", where=self._where)
            self._check(await self._partitions(admin))
            await self._keep(admin)
        finally:
            await admin.close()

    def _check(self, partitions: Mapping[str, int]) -> None:
        for topic in self._topics:
            if partitions[topic.name] != topic.partitions:
                raise ConfigError(
                    f"topic {topic.name} has {partitions[topic.name]} partitions, {topic.partitions} are needed",
                    where=self._where,
                    hint="partitions fix the order per channel: use an empty cluster, or other topics",
                )

    async def _partitions(self, admin: AIOKafkaAdminClient) -> dict[str, int]:
        """Partitions by topic, once the brokers know all of them: a new topic takes a moment to get around.

        Raises:
            BusUnavailable: they do not in time.
        """
        names = [topic.name for topic in self._topics]
        deadline_ns = self._clock.monotonic_ns() + REQUEST_TIMEOUT_MS * NS_PER_MS
        while self._clock.monotonic_ns() < deadline_ns:
            found = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics(names)}
            if all(found.get(name) for name in names):
                return found
            await self._clock.sleep(METADATA_RETRY_S)
        raise BusUnavailable("the topics that were made do not appear", where=self._where)

    def _wanted(self, topic: Topic[Any]) -> dict[str, str]:
        """What a topic is to have also when it exists: by whose clock it goes, and how many bytes it keeps where the site says so."""
        retention = {_RETENTION_BYTES: self._retention[topic.name]} if topic.name in self._retention else {}
        return (_BROKERS_TIME if topic.brokers_time else _PUBLISHERS_TIME) | retention

    async def _keep(self, admin: AIOKafkaAdminClient) -> None:
        """Topics that exist get what is wanted of them; all else stays. A refusal is told, no more."""
        wanted = {topic.name: self._wanted(topic) for topic in self._topics}
        asked = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in wanted])
        for code, reason, _, name, entries in (resource for answer in asked for resource in answer.resources):
            # Altering replaces all that a topic has: what it has goes along, of whoever it is.
            own = {entry[0]: entry[1] for entry in entries if entry[3] == _OF_THE_TOPIC}
            if code != 0:
                _tell_refused(name, code, reason)
            elif not wanted[name].items() <= own.items():
                await self._alter(admin, name, own, wanted[name])

    async def _alter(self, admin: AIOKafkaAdminClient, name: str, own: Mapping[str, str], wanted: Mapping[str, str]) -> None:
        (answer,) = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, {**own, **wanted})])
        code, reason = answer.resources[0][:2]
        if code != 0:
            _tell_refused(name, code, reason)
        else:
            before = {setting: own.get(setting, "") for setting in wanted}
            log.info("a topic is set anew", topic=name, settings=dict(wanted), before=before)

    def _declared(self, topic: Topic[Any]) -> NewTopic:
        retention_ms = topic.retention_ns // NS_PER_MS
        settings = {
            "retention.ms": retention_ms,
            _RETENTION_BYTES: -1 if topic.retention_bytes is None else topic.retention_bytes,
            "max.message.bytes": topic.max_message_bytes + OVERHEAD_BYTES,
            "segment.bytes": LOG_SEGMENT_BYTES,
            "segment.ms": max(60_000, min(retention_ms // 2, 24 * 3600_000)),  # rolled in time for retention by minutes
            "cleanup.policy": "compact" if topic.compacted else "delete",
            "compression.type": "producer",  # as it comes: not at all
            **self._wanted(topic),
        }
        return NewTopic(
            topic.name, topic.partitions, self._config.replication, topic_configs={name: str(value) for name, value in settings.items()}
        )


def _tell_refused(topic: str, code: int, reason: str) -> None:
    log.warning("a topic could not be set as it should be", topic=topic, reason=f"{for_code(code).__name__}: {reason}")
