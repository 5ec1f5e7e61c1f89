"""An events service of each release on one database, which has subscriptions and consumers."""

from pathlib import Path

import aiohttp
import pytest

from rowlock.engine import migrations
from tests.support.polling import until
from tests.support.processes import free_port
from tests.support.receiver import Receiver
from tests.support.releases import Release
from tests.support.rollout import Call, Site
from tests.support.servers import Server
from tests.upgrade.conftest import Filled, assert_sound, migrate, serving

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_events__stored_by_both_releases__posted_and_read_and_listed_by_both(
    filled: Filled, previous: Release, tmp_path: Path
) -> None:
    receiver = Receiver()
    server = Server(receiver.app)
    await server.start_server()
    ports = [free_port(), free_port()]
    with filled.cloned() as databases:
        await migrate(databases)
        databases.grant(migrations.grants)
        old_settings, new_settings = (databases.confined | {"events_port": port} for port in ports)
        async with (
            serving(previous, tmp_path / "old.log", "events", **old_settings),
            serving(
                None, tmp_path / "new.log", "events", **new_settings | {"webhooks_private": "1"}
            ),
            aiohttp.ClientSession() as session,
        ):
            old, new = (Site(session, {"events": f"http://127.0.0.1:{port}"}) for port in ports)
            subscription = {"url": str(server.make_url("/hook")), "names": ["both.*"]}
            made = await new.write("/subscriptions", subscription, service="events")
            assert made.status == 201, made
            put = await new.send(Call("events", "PUT", "/consumers/warehouse", {}))
            assert put.status == 201, put
            # What the new one alone knows is an event like any other to the old one.
            shown = await old.read("/events?name=subscription.created", service="events")
            assert [event["subject"] for event in shown.body] == ["subscription:1"]

            ids = []
            for number in range(20):
                for site in (old, new):
                    event = {"name": "both.stored", "payload": {"n": number}}
                    answer = await site.write("/events", event, service="events")
                    assert answer.status in {200, 201}, answer
                    ids.append(answer.body["id"])
            await until(lambda: receiver.ids("/hook") == {str(each) for each in ids})
            found: list[int] = []
            while found[-1:] != ids[-1:]:
                page = await new.read("/consumers/warehouse/events?limit=500", service="events")
                found += [event["id"] for event in page.body]
                ack = {"id": found[-1]}
                acked = await new.write("/consumers/warehouse/ack", ack, service="events")
                assert acked.status == 200, acked
            assert found == sorted(found)
            assert found[-len(ids) :] == ids
            for site in (old, new):
                listed = await site.read("/events?name=both.stored&limit=100", service="events")
                assert [event["id"] for event in listed.body] == ids
        await assert_sound(databases)
    await server.close()
