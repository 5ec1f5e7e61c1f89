"""The dispatcher's process killed under load: its deliveries go on elsewhere."""

import time

import aiohttp

from tests.support.polling import until
from tests.support.processes import Service
from tests.support.receiver import Receiver
from tests.support.servers import Server

TOKEN = {"Authorization": "Bearer development-events-token"}
TAKEOVER_S = 15  # with the default settings of leases


async def test_dispatcher__killed__another_process_posts_everything_within_fifteen_seconds(
    events_database_url: str, database_url: str
) -> None:
    receiver = Receiver()
    server = Server(receiver.app)
    await server.start_server()
    urls = {
        "database_url": database_url,
        "events_database_url": events_database_url,
        "webhooks_private": "1",
    }
    try:
        async with Service("events", **urls) as leader:
            await until(lambda: "lease=dispatcher" in leader.printed)
            async with (
                Service("events", **urls) as successor,
                aiohttp.ClientSession(headers=TOKEN) as session,
            ):
                hook = str(server.make_url("/hook"))
                stuck = str(server.make_url("/stuck"))
                receiver.behaviours["/stuck"] = receiver.never

                async def post(path: str, body: object) -> None:
                    url = f"{successor.events_url}{path}"
                    async with session.post(url, json=body) as response:
                        assert response.status < 300, await response.text()

                await post("/subscriptions", {"url": hook, "names": ["x.*"]})
                await post("/subscriptions", {"url": stuck, "names": ["x.*"]})

                async def store(count: int) -> None:
                    event = {"name": "x.made", "payload": {}}
                    await post("/events/batch", {"events": [event] * count})

                await store(50)
                await until(lambda: len(receiver.ids("/hook")) == 50)
                await until(lambda: receiver.at("/stuck"))
                await leader.kill()
                killed_at = time.monotonic()
                receiver.behaviours.clear()
                await store(50)

                await until(lambda: len(receiver.ids("/hook")) == 100)
                await until(lambda: len(receiver.ids("/stuck")) >= 50)
                assert time.monotonic() - killed_at < TAKEOVER_S
    finally:
        receiver.released.set()
        await server.close()
