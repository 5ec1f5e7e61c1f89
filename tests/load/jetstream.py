"""How many events a second the NATS sink publishes: one server, and three replicas.

    python -m tests.load.jetstream [--events 200000] [--servers 1 3]

It makes a PostgreSQL, NATS servers and an events service on free ports, all on this machine, and
removes them at the end. The rate is that of the stream: from its first message to its last.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg

from rowlock.engine import migrations
from rowlock.ops import embedded
from tests.support import nats
from tests.support.processes import Service

FILL = """
    INSERT INTO events (event_id, name, subject, payload, created_at, request_id, actor)
    SELECT gen_random_uuid(), 'invoice.paid', 'invoice:' || n,
        jsonb_build_object('invoice_id', n, 'user_id', n %% 1000, 'amount', n %% 100000),
        now(), md5(n::text), 'token'
    FROM generate_series(1, %s) AS n"""


async def measure(url: str, servers: list[nats.NatsServer], events: int) -> float:
    """The rate of the sink, in events a second."""
    urls = [server.url for server in servers]
    service = Service(
        "events",
        events_database_url=url,
        nats_url=",".join(urls),
        nats_replicas=len(servers),
    )
    async with service:
        first = last = time.monotonic()
        begun = 0
        while (now := await nats.last_sequence(*urls)) < events:
            if now and not begun:
                first, begun = time.monotonic(), now
            await asyncio.sleep(0.05)
        last = time.monotonic()
    return (events - begun) / (last - first)


@asynccontextmanager
async def _servers(folder: Path, count: int) -> AsyncIterator[list[nats.NatsServer]]:
    if count == 1:
        async with nats.serving(folder) as server:
            yield [server]
    else:
        async with nats.clustered(folder, count) as servers:
            yield servers


async def main(events: int, counts: list[int]) -> None:
    """Measure each number of servers, and print the rates."""
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded.running(Path(folder) / "postgres", start_timeout_s=60) as urls,
    ):
        url = urls["rowlock_events"]
        migrations.up(url, "events")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(FILL, (events,))
            connection.execute("VACUUM ANALYZE")
        for count in counts:
            async with _servers(Path(folder) / f"nats{count}", count) as servers:
                rate = await measure(url, servers, events)
            print(f"{count} server(s), {count} replica(s): {rate:,.0f} events/s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--servers", type=int, nargs="+", default=[1, 3])
    arguments = parser.parse_args()
    asyncio.run(main(arguments.events, arguments.servers))
