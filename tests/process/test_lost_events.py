"""The events server is replaced by a copy that lacks events: the relay delivers them again."""

import asyncio
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psycopg
import pytest
from psycopg import sql

from rowlock.ops.drill.cluster import OWNER, WHEEL
from tests.support.cluster import Cluster, Node
from tests.support.delivery import write
from tests.support.polling import until
from tests.support.processes import Service, rowlock
from tests.support.scraping import scrape
from tests.support.types import Connection

DATABASE = "rowlock_events"
COPIED, LOST = 40, 300  # events before the copy, and after it
QUICK = {
    "lease_s": 1,
    "lease_renew_s": 0.2,
    "relay_check_s": 0.2,
    "relay_poll_s": 0.1,
    "relay_retry_limit_s": 0.5,
    "task_retry_limit_s": 0.5,
    "log_level": "debug",
}


class Server:
    """The PostgreSQL of the events service, of which a copy is taken."""

    def __init__(self, node: Node, folder: Path) -> None:
        self.node = node
        self._copy = folder / "copy"
        if OWNER is not None:
            shutil.chown(folder, OWNER)

    @property
    def url(self) -> str:
        return self.node.url(DATABASE)

    def back_up(self) -> None:
        """Take a base backup."""
        self._run("pg_basebackup", "-X", "stream", "-c", "fast", "-D", str(self._copy))

    def become_backup(self) -> None:
        """Start from the base backup, in place of the server that is lost."""
        self.node.kill()
        self.node.replace(self._copy)
        self.node.start()

    def dump(self) -> None:
        """Take a dump of the database."""
        self._run("pg_dump", "-Fc", "-f", str(self._copy), DATABASE)

    def restore_dump(self) -> None:
        """Make the database anew, from its dump: under another name, as its service still runs."""
        name, restored = sql.Identifier(DATABASE), sql.Identifier("restored")
        with psycopg.connect(self.node.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(restored))
            self._run("pg_restore", "-d", "restored", str(self._copy))
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
            connection.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(restored, name))

    def _run(self, program: str, *arguments: str) -> None:
        place = ["-h", "127.0.0.1", "-p", str(self.node.port), "-U", "postgres"]
        subprocess.run([WHEEL.bin_path / program, *place, *arguments], check=True, user=OWNER)

    def subjects(self) -> list[str]:
        with psycopg.connect(self.url) as connection:
            rows = connection.execute("SELECT subject FROM events ORDER BY id").fetchall()
        return [row[0] for row in rows]


COPIES: dict[str, tuple[Callable[[Server], None], Callable[[Server], None]]] = {
    "base backup": (Server.back_up, Server.become_backup),
    "dump": (Server.dump, Server.restore_dump),
}


@pytest.fixture
def server(cluster_seed: Path, tmp_path: Path) -> Iterator[Server]:
    with Cluster.running(cluster_seed, tmp_path, 1) as cluster:
        yield Server(cluster.primary, tmp_path)


@asynccontextmanager
async def site(
    server: Server, database_url: str, batch: int = 1000
) -> AsyncIterator[tuple[Service, Service]]:
    """An events service on that server, and a commerce service, which leads the relay."""
    async with Service(
        "events", database_url=database_url, events_database_url=server.url, stream_poll_s=0.5
    ) as events:
        settings = {"database_url": database_url, "events_url": events.events_url, **QUICK}
        async with Service("commerce", relay_batch_events=batch, **settings) as commerce:
            yield events, commerce


async def has(server: Server, count: int) -> bool:
    try:
        return len(await asyncio.to_thread(server.subjects)) >= count
    except psycopg.Error:  # it is being replaced
        return False


async def lose(server: Server, connection: Connection, copy: str) -> list[str]:
    """Let the events service lose what is not in a copy; return all subjects."""
    take, use = COPIES[copy]
    subjects = [f"x:{number}" for number in range(COPIED + LOST)]
    await write(connection, *subjects[:COPIED])
    await until(lambda: has(server, COPIED))
    await asyncio.to_thread(take, server)
    await write(connection, *subjects[COPIED:])
    await until(lambda: has(server, len(subjects)))
    await asyncio.to_thread(use, server)
    return subjects


@pytest.mark.parametrize("copy", COPIES)
async def test_events_server__replaced_by_its_copy__has_each_event_once_again(
    server: Server, database_url: str, connection: Connection, copy: str
) -> None:
    async with site(server, database_url) as (events, commerce):
        subjects = await lose(server, connection, copy)
        await until(lambda: has(server, len(subjects)))
        await write(connection, "x:last")
        await until(lambda: has(server, len(subjects) + 1))
        assert server.subjects() == [*subjects, "x:last"]
        assert re.search(rf"relay_goes_back .*events={LOST}\b", commerce.printed)
        assert "events_lost" not in commerce.printed
        status, output = await rowlock("outbox", "status", database_url=database_url)
        assert status == 0
        kept = rf"delivered and kept +{len(subjects) + 1}\b"
        assert re.search(kept, output), output
        assert re.search(r"the relay last went back +20\S+ \S+ mark_behind", output), output
        async with aiohttp.ClientSession() as session:
            scraped = await scrape(session, f"{commerce.url}/metrics")
        assert scraped.value("rowlock_relay_rewinds_total", reason="mark_behind") == 1
        assert scraped.value("rowlock_outbox_losses") == 0
        # And once more, because an operator asks for it.
        asked = await rowlock("outbox", "resend", "--since", "1h", database_url=database_url)
        assert asked == (0, f"Delivered {len(subjects) + 1} events again.\n")
        assert server.subjects() == [*subjects, "x:last"]
        assert events.is_running


@pytest.mark.parametrize("fate", ["killed", "frozen"])
async def test_relay__gone_while_it_goes_back__another_one_goes_on(
    server: Server, database_url: str, connection: Connection, fate: str
) -> None:
    async with site(server, database_url, batch=1) as (events, leader):
        successor = Service(
            "events",  # which is probed; it takes no part
            "projects",
            database_url=database_url,
            events_database_url=server.url,
            events_url=events.events_url,
            **QUICK,
        )
        async with successor:
            subjects = await lose(server, connection, "base backup")
            await until(lambda: has(server, COPIED + 5))
            leader.signal(signal.SIGKILL if fate == "killed" else signal.SIGSTOP)
            assert len(server.subjects()) < len(subjects)
            await until(lambda: has(server, len(subjects)))
            if fate == "frozen":
                leader.signal(signal.SIGCONT)
                await until(lambda: "lease_lost" in leader.printed)
            await write(connection, "x:last")
            await until(lambda: has(server, len(subjects) + 1))
            assert server.subjects() == [*subjects, "x:last"]
            reasons = await connection.fetch("SELECT reason FROM outbox_rewinds")
            assert [row["reason"] for row in reasons] == ["mark_behind"]
            assert await connection.fetchval("SELECT count(*) FROM outbox_dead_letters") == 0
