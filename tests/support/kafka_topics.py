"""What the topics of a broker have of their own, and how somebody sets it by hand."""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka.admin import AIOKafkaAdminClient  # type: ignore[import-untyped]  # aiokafka is untyped
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType  # type: ignore[import-untyped]  # as above

from tests.support.kafka import KafkaServer
from tests.support.waiting import until


async def settings_of(server: KafkaServer, *names: str) -> dict[str, dict[str, str]]:
    """What topics have of their own, by name."""
    admin = AIOKafkaAdminClient(bootstrap_servers=server.address)
    await admin.start()
    try:
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    finally:
        await admin.close()
    resources = [resource for answer in answers for resource in answer.resources]
    return {name: {entry[0]: entry[1] for entry in entries if entry[3] == 1} for _, _, _, name, entries in resources}


async def set_by_hand(server: KafkaServer, name: str, settings: Mapping[str, str]) -> None:
    """A topic has these settings besides its others, and the broker goes by them."""
    wanted = (await settings_of(server, name))[name] | dict(settings)
    admin = AIOKafkaAdminClient(bootstrap_servers=server.address)
    await admin.start()
    try:
        (answer,) = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, wanted)])
        assert answer.resources[0][0] == 0, answer
    finally:
        await admin.close()

    async def known() -> bool:
        return await settings_of(server, name) == {name: wanted}

    await until(known, f"the broker knows what was set of {name}")
