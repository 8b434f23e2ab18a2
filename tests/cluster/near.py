"""Asking one region's replicas, past the client that would ask elsewhere."""

import nats.errors

from holdfast.client.configuration import read_configuration
from holdfast.domain.messages import Read, decode_reply, encode_message
from holdfast.log.jetstream.connection import connect


async def margin_near(place, region, account):
    """The reply to a question for a margin in a region; None for nothing."""
    link = await connect(read_configuration(place.client("client")).log.access(), name="asking")
    try:
        question = encode_message(Read("margin", {"account": account}))
        return decode_reply((await link.request(f"holdfast.read.{region}", question, timeout=1.0)).data)
    except (nats.errors.Error, TimeoutError):
        return None
    finally:
        await link.close()
