"""All that a broker has of some topics, whoever has read it or not."""

from __future__ import annotations

from typing import Any

from shared.bus.kafka_stored import stored
from shared.config.services import KafkaBus as KafkaConfig
from shared.messages import Message
from shared.messages.codec import decode
from shared.topics import Topic


async def log_of(config: KafkaConfig, *topics: Topic[Any]) -> list[Message]:
    """Up to what was the end when it began; the messages of each channel in their order."""
    found: list[Message] = []
    for topic in topics:
        async for _, wire in stored(config, topic, client_id="reader"):
            found.append(decode(topic.message, wire.value, wire.headers))
    return found
