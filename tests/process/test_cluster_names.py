"""A name among several hosts that is given to another server: a virtual address, or one in DNS."""

import asyncio

from rowlock.engine import dialling
from rowlock.engine.database import Database
from rowlock.errors import DatabaseUnavailable
from rowlock.settings import Settings
from tests.support.cluster import Cluster
from tests.support.polling import until
from tests.support.proxy import Proxy

STATEMENT_S = 0.2  # several questions of the watcher's


async def test_name__moves_to_the_new_primary__followed_and_connections_stay(
    cluster: Cluster,
) -> None:
    """The watcher's connection leads to the server that had the name before, which is a standby."""
    former = cluster.primary
    settings = Settings().changed(watch_s=0.05).database
    async with Proxy.to(former.url()) as name:
        url = f"postgresql://postgres@127.0.0.1:{name.port},127.0.0.1:{former.port}/rowlock"
        async with Database(url, settings, "rowlock-names") as database:
            await until(lambda: commits(database))
            await asyncio.to_thread(cluster.switchover)
            # The name is that of the standby for a while, so a watcher's connection leads there.
            await until(lambda: asked(cluster, former.port))
            name.move_to(cluster.primary.port)
            await until(lambda: commits(database))
            era = database.era
            for _ in range(10):
                async with database.transaction() as connection:
                    await connection.execute(f"SELECT pg_sleep({STATEMENT_S})")
            assert database.era == era


async def commits(database: Database) -> bool:
    try:
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO users (username) VALUES (gen_random_uuid())")
    except DatabaseUnavailable:
        return False
    return True


async def asked(cluster: Cluster, port: int) -> bool:
    """Whether both watchers have asked the server at `port`: by its own port, and by the name."""
    [node] = [node for node in cluster.nodes if node.port == port]
    connection = await dialling.connect(node.url())
    try:
        return bool(
            await connection.fetchval(
                "SELECT count(*) > 1 FROM pg_stat_activity "
                "WHERE application_name = 'rowlock-names-watcher' AND query LIKE '%in_recovery%'"
            )
        )
    finally:
        connection.terminate()
