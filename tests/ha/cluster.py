"""A real cluster on one machine: etcd, three PostgreSQLs under Patroni, HAProxy, PgBouncer."""

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil
import psycopg

from rowlock.engine import migrations
from rowlock.ops.drill.cluster import DATABASES, OWNER
from tests.ha.files import HOST, NODES, Files
from tests.ha.folder import processes_below, spawn

PATRONI = Path(__file__).parents[2] / ".venv-ha/bin"
START_S = HEAL_S = 300.0  # a busy machine is slow, and no failure
REQUEST_S = 3.0
# What three servers on one machine need otherwise than three machines do.
SMALL = """
postgresql:
  parameters:
    unix_socket_directories: ''
    shared_buffers: 32MB
watchdog:
  mode: 'off'
"""
Thing = TypeVar("Thing")


class Unavailable(Exception):
    """What the run needs is not installed: one line for a person."""


def find(name: str) -> str:
    """Return the path of a Debian program. Raises Unavailable."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if path is None:
        raise Unavailable(f"{name} is not installed")
    return path


def check() -> None:
    """Raise Unavailable if anything is missing."""
    for name in ("etcd", "etcdctl", "haproxy", "pgbouncer", "envsubst"):
        find(name)
    if not (PATRONI / "patroni").exists():
        raise Unavailable("Patroni is not installed")


class Node:
    """One machine of the cluster: Patroni and its PostgreSQL."""

    def __init__(self, files: Files, number: int) -> None:
        self._files = files
        self._values = files.of_node(number)
        self.name = self._values["NODE_NAME"]
        self.port = int(self._values["NODE_PORT"])
        self._api = f"http://{HOST}:{self._values['NODE_API_PORT']}"
        self._folder = files.folder / NODES[number - 1]
        self._frozen: list[psutil.Process] = []
        # Patroni merges the files of a folder, in the order of their names.
        configuration = files.text("patroni.yml", **self._values)
        files.write(f"{self.name}/config/1.yml", configuration, OWNER)
        files.write(f"{self.name}/config/2.yml", SMALL, OWNER)

    def url(self, database: str = "postgres") -> str:
        """The URL of a database of this server, for its superuser."""
        password = self._files.values["SUPERUSER_PASSWORD"]
        return f"postgresql://postgres:{password}@{HOST}:{self.port}/{database}"

    def start(self) -> None:
        """Start Patroni, which starts PostgreSQL."""
        spawn([str(PATRONI / "patroni"), str(self._folder / "config")], self._folder, as_owner=True)

    def kill(self) -> None:
        """Kill -9 everything, as if the machine had lost its power."""
        for process in self._stopped():
            with suppress(psutil.Error):
                process.kill()

    def hold_log(self) -> None:
        """Stop what sends the log, so that the standbys fall behind."""
        for process in processes_below(self._folder / "data"):
            with suppress(psutil.Error):
                if any("walsender" in word for word in process.cmdline()):
                    process.suspend()

    def freeze(self) -> None:
        """Stop everything where it is; the kernel still takes connections for it."""
        self._frozen = self._stopped()

    def thaw(self) -> None:
        """Let it go on."""
        for process in self._frozen:
            with suppress(psutil.Error):
                process.resume()
        self._frozen = []

    def _stopped(self) -> list[psutil.Process]:
        """Stop all processes, until there are no new ones; return them."""
        stopped: dict[int, psutil.Process] = {}
        while new := [each for each in processes_below(self._folder) if each.pid not in stopped]:
            for process in new:
                stopped[process.pid] = process
                with suppress(psutil.Error):
                    process.suspend()
        return list(stopped.values())

    def ask(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        """Return an answer of Patroni's REST API; None if there is none."""
        login = f"patroni:{self._files.values['API_PASSWORD']}".encode()
        headers = {
            "Authorization": f"Basic {base64.b64encode(login).decode()}",
            "Content-Type": "application/json",
        }
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._api}{path}", data, headers, method=method)
        try:
            # A switchover is answered when it is over.
            with urllib.request.urlopen(request, timeout=REQUEST_S if data is None else 60) as got:
                text = got.read().decode()
        except (OSError, TimeoutError, urllib.error.URLError):
            return None
        return json.loads(text) if text.startswith("{") else text


class Cluster:
    """All of it."""

    def __init__(self, folder: Path) -> None:
        self.files = Files.on_free_ports(folder)
        self._folder = folder
        self._is_synchronous = True  # as patroni.yml has it
        self.nodes = [Node(self.files, number) for number in (1, 2, 3)]

    def start(self) -> None:
        """Start everything, make both databases, and migrate them."""
        folder = self._folder
        archive = folder / "archive"
        archive.mkdir()
        if OWNER is not None:
            shutil.chown(archive, OWNER)
        spawn(
            [find("etcd")],
            folder / "etcd",
            environment=dict(self.files.environment("etcd.env")),
            as_owner=True,
        )
        for node in self.nodes:
            node.start()
        wait(self._is_whole, START_S, "the cluster does not start", folder)
        with psycopg.connect(self.primary().url(), autocommit=True) as connection:
            statements = self.files.text("databases.sql").split(";")
            for statement in filter(str.strip, statements[:-1]):
                connection.execute(statement.encode())
            connection.execute("CREATE TABLE probe (at timestamptz NOT NULL)")
        haproxy = self.files.write("haproxy/haproxy.cfg", self.files.text("haproxy.cfg"))
        spawn([find("haproxy"), "-db", "-f", str(haproxy)], folder / "haproxy", as_owner=True)
        pgbouncer = self.files.write("pgbouncer/pgbouncer.ini", self._pooler_settings())
        spawn([find("pgbouncer"), str(pgbouncer)], folder / "pgbouncer", as_owner=True)
        wait(lambda: answers(self.by_pooler("rowlock")), START_S, "no way by PgBouncer", folder)
        for name, folder_name in DATABASES.items():
            migrations.up(self.by_hosts(name), folder_name)

    @property
    def pooler_keeps_statements(self) -> bool:
        """Whether this PgBouncer knows max_prepared_statements."""
        printed = subprocess.run(
            [find("pgbouncer"), "--version"], capture_output=True, text=True, check=True
        ).stdout
        version = printed.split()[1].split(".")
        return (int(version[0]), int(version[1])) >= (1, 21)

    def _pooler_settings(self) -> str:
        lines = self.files.text("pgbouncer.ini").splitlines()
        if not self.pooler_keeps_statements:
            lines = [line for line in lines if not line.startswith("max_prepared_statements")]
        return "\n".join(lines)

    def by_hosts(self, database: str) -> str:
        """The URL that names all members, as rowlock.env has it."""
        name = "ROWLOCK_DATABASE_URL" if database == "rowlock" else "ROWLOCK_EVENTS_DATABASE_URL"
        return self.files.environment("rowlock.env")[name]

    def by_proxy(self, database: str, user: str = "rowlock") -> str:
        """The URL that leads through HAProxy."""
        values = self.files.values
        name = "DATABASE_PASSWORD" if user == "rowlock" else "SUPERUSER_PASSWORD"
        address = f"{values['PROXY_HOST']}:{values['PRIMARY_PORT']}"
        return f"postgresql://{user}:{values[name]}@{address}/{database}"

    def by_pooler(self, database: str) -> str:
        """The URL that leads through PgBouncer, and then HAProxy."""
        values = self.files.values
        address = f"{values['POOLER_HOST']}:{values['POOLER_PORT']}"
        return f"postgresql://rowlock@{address}/{database}"

    def primary(self) -> Node:
        """Return the node that leads, by its own word."""
        return wait(self._leader, HEAL_S, "no node leads", self._folder)

    def heal(self) -> None:
        """Wait until all three run, and both standbys may confirm commits."""
        wait(self._is_whole, HEAL_S, "the cluster does not heal", self._folder)

    def switch_over(self, candidate: str | None = None) -> None:
        """Hand over from the primary to a standby, in order; ask again if Patroni refuses."""
        leader = self.primary()

        def is_over() -> bool:
            answer = leader.ask("/switchover", {"leader": leader.name, "candidate": candidate})
            return "Successfully" in str(answer) or self._leader() not in {None, leader}

        wait(is_over, HEAL_S, "no switchover", self._folder)

    def be_synchronous(self, wanted: bool) -> None:
        """Let commits wait for a standby, or not."""
        if wanted != self._is_synchronous:
            mode = "quorum" if wanted else "off"
            self.primary().ask("/config", {"synchronous_mode": mode}, "PATCH")
            self._is_synchronous = wanted
            self.heal()

    def kill_with_lag(self, node: Node, lag_s: float) -> None:
        """Kill a primary whose standbys have not heard of it for a while."""
        node.hold_log()
        time.sleep(lag_s)
        node.kill()

    def _leader(self) -> Node | None:
        leading = [node for node in self.nodes if node.ask("/primary")]
        return leading[0] if len(leading) == 1 else None

    def _is_whole(self) -> bool:
        standby = "quorum_standby" if self._is_synchronous else "replica"
        for node in self.nodes:
            state = node.ask("/cluster")
            if not state:
                return False
            roles = sorted(member["role"] for member in state.get("members", ()))
            states = {member["state"] for member in state.get("members", ())}
            timelines = {member.get("timeline") for member in state.get("members", ())}
            if (
                roles != ["leader", standby, standby]
                or states != {"running", "streaming"}
                or len(timelines) != 1
            ):
                return False
        return True


def answers(url: str) -> bool:
    """Tell whether a server takes a statement."""
    try:
        with psycopg.connect(url, connect_timeout=2, autocommit=True) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def wait(condition: Callable[[], Thing | None], timeout_s: float, what: str, folder: Path) -> Thing:
    """Return the first true value of `condition()`. Raises TimeoutError, with where to look."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}; see the logs in {folder}")
        time.sleep(0.1)
    return value
