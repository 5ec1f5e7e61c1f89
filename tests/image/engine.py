"""An engine for containers: the one that runs here, or one of the check's own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.ha.folder import spawn
from tests.support.polling import until_true

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 40.0
COMMAND_TIMEOUT_S = 240.0
BUILDX_MAJOR = 23  # from then on, clients build by a plugin
PLACES = {"data-root": "data", "exec-root": "exec", "pidfile": "docker.pid"}


class Unavailable(Exception):
    """What the check needs is not here."""


class Failed(Exception):
    """What the check is about does not work."""


@dataclass(frozen=True)
class Engine:
    """A Docker client, and the engine that it talks with."""

    program: str
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Run a command of the client; return what it printed. Raises Failed."""
        try:
            done = subprocess.run(
                [self.program, *arguments],
                check=True,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                env=os.environ | {"DOCKER_BUILDKIT": "1"} | self.environment,
                timeout=timeout_s,
            )
        except subprocess.CalledProcessError as error:
            raise Failed(f"docker {arguments[0]}: {error.stderr.strip()[-3000:]}") from None
        except subprocess.TimeoutExpired:
            raise Failed(f"docker {arguments[0]}: no end within {timeout_s:.0f} s") from None
        return done.stdout.strip()

    def log(self, container: str) -> str:
        """The last lines that a container has printed."""
        done = subprocess.run(
            [self.program, "logs", "--tail=30", container],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | self.environment,
        )
        return done.stdout.strip()

    def works(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> bool:
        """Whether a command succeeds."""
        try:
            self.run(*arguments, timeout_s=timeout_s)
        except (Failed, OSError):
            return False
        return True

    def load(self, name: str) -> "Import":
        """Begin an image, whose files are written into it as a tar archive."""
        return Import(self, name)


class Import:
    """`docker import`, as a context that lends its input."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._command = [engine.program, "import", "-", name]
        self._environment = os.environ | engine.environment

    def __enter__(self) -> IO[bytes]:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self._environment,
        )
        assert self._process.stdin is not None
        return self._process.stdin

    def __exit__(self, *_: object) -> None:
        problem = self._process.communicate()[1].decode().strip()
        if self._process.returncode:
            raise Failed(f"docker import: {problem}")


@contextmanager
def engine(folder: Path, free_bytes: int) -> Iterator[Engine]:
    """Lend an engine: the one that the client reaches, or else one in `folder`.

    Raises Unavailable, too, if the folder has not `free_bytes` left.
    """
    clients = [Engine(program) for program in _clients()]
    if reached := [client for client in clients if client.works("version", timeout_s=20)]:
        yield _builder(reached)
        return
    daemon = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/bin")
    if daemon is None:
        raise Unavailable("no engine for containers runs here, and there is no dockerd to start")
    if os.getuid() != 0:
        raise Unavailable("no engine for containers runs here, and only root can start dockerd")
    if (free := shutil.disk_usage(folder).free) < free_bytes:
        raise Unavailable(f"{free / 1e9:.1f} GB are free in {folder}, not {free_bytes / 1e9:.0f}")
    with _own(daemon, folder) as own:
        yield own


@contextmanager
def _own(daemon: str, folder: Path) -> Iterator[Engine]:
    """Run an engine that changes nothing of this machine: no bridge, no rules of a firewall."""
    socket = f"unix://{folder}/docker.sock"
    where = [f"--{key}={folder}/{name}" for key, name in PLACES.items()]
    variables = {"DOCKER_HOST": socket, "DOCKER_CONFIG": str(folder / "config")}
    clients = [Engine(program, variables) for program in _clients()]
    if not clients:
        raise Unavailable("dockerd is here, but not its client, docker")
    process = spawn(
        [daemon, f"--host={socket}", *where, "--bridge=none", "--iptables=false"],
        folder / "daemon",
    )
    log = folder / "daemon" / "log"
    try:
        try:
            until_true(
                lambda: process.poll() is not None or clients[0].works("version", timeout_s=5),
                START_TIMEOUT_S,
            )
        except TimeoutError:
            raise Unavailable(f"dockerd does not start here: {_end_of(log)}") from None
        if process.poll() is not None:
            raise Unavailable(f"dockerd does not start here: {_end_of(log)}")
        yield _builder(clients)
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _clients() -> list[str]:
    """Every program `docker` on the path, in its order."""
    found = [shutil.which("docker", path=folder) for folder in os.get_exec_path()]
    return list(dict.fromkeys(filter(None, found)))


def _builder(clients: list[Engine]) -> Engine:
    """The first client that can build with BuildKit. Raises Unavailable."""
    for client in clients:
        if client.works("buildx", "version"):
            return client
        major = client.run("version", "--format={{.Client.Version}}").partition(".")[0]
        if int(major) < BUILDX_MAJOR:
            return client
    raise Unavailable("docker can't build here without its plugin buildx")


def _end_of(log: Path) -> str:
    return " ".join(log.read_text(errors="replace").splitlines()[-2:])
