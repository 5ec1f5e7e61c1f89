"""Read Rowlock's events from NATS JetStream: pip install nats-py, then run this with a URL.

    python docs/examples/jetstream_reader.py nats://localhost:4222

A durable consumer keeps this reader's place: stopped and started again, it goes on where it was.
The stream has each event once. A reader that ends between its work and its acknowledgement gets a
message again, so what it does should be done once for each event_id.
"""

import asyncio
import json
import sys

import nats
import nats.errors
from nats.js.api import ConsumerConfig

STREAM = "ROWLOCK"
SUBJECT = "rowlock.>"  # all events; rowlock.invoice.* for those of invoices
DURABLE = "example"
BATCH = 100


async def main(url: str) -> None:
    """Print each event, and acknowledge it."""
    client = await nats.connect(url)
    # Not more at once than this reader handles before ack_wait is over: 30 s by default.
    config = ConsumerConfig(max_ack_pending=BATCH)
    reader = await client.jetstream().pull_subscribe(SUBJECT, DURABLE, STREAM, config)
    while True:
        try:
            messages = await reader.fetch(BATCH, timeout=5)
        except nats.errors.TimeoutError:  # no event has come
            continue
        for message in messages:
            event = json.loads(message.data)
            print(event["id"], event["name"], event["payload"], flush=True)  # noqa: T201
            await message.ack()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
