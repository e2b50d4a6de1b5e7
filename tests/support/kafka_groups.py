"""Consumer groups of a broker, as an operator's tool sees them."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient  # type: ignore[import-untyped]  # aiokafka is untyped
from aiokafka.client import AIOKafkaClient  # type: ignore[import-untyped]  # as above
from aiokafka.protocol.group import LeaveGroupRequest  # type: ignore[import-untyped]  # as above


async def put_out(broker: str, group: str) -> int:
    """Put all members out of a group, as the broker does to those of whom it hears nothing. They learn it with their next request, and what
    they commit is refused. How many there were."""
    admin, client = AIOKafkaAdminClient(bootstrap_servers=broker), AIOKafkaClient(bootstrap_servers=broker)
    try:
        await admin.start()
        await client.bootstrap()
        node = await admin.find_coordinator(group)
        (answer,) = await admin.describe_consumer_groups([group], group_coordinator_id=node)
        members = [member[0] for member in answer.groups[0][5]]
        for member in members:
            left = await client.send(node, LeaveGroupRequest(group, member))
            assert left.error_code == 0, left
        return len(members)
    finally:
        await client.close()
        await admin.close()
