"""The compose file, and its services as arguments of `docker run`."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

import yaml

from tests.support.documents import ROOT

FILE = ROOT / "docker/compose.yml"
EXAMPLE = ROOT / "docker/.env.example"
VARIABLE = re.compile(r"\$\{(\w+):\?[^}]*\}")

VALUES = {
    "mem_limit": "--memory",
    "pids_limit": "--pids-limit",
    "restart": "--restart",
    "shm_size": "--shm-size",
    "user": "--user",
    "working_dir": "--workdir",
}
LISTS = {"cap_drop": "--cap-drop", "security_opt": "--security-opt", "tmpfs": "--tmpfs"}
SWITCHES = {"init": "--init", "read_only": "--read-only"}
# What becomes an argument in another way, or says how the services come together: by one network,
# on which each has its own port.
OTHERS = {
    *("build", "command", "depends_on", "environment", "healthcheck", "image", "logging", "ports"),
    *("stop_grace_period", "volumes"),
}


@dataclass(frozen=True)
class Service:
    """A service of the compose file, with its variables filled in."""

    name: str
    options: Mapping[str, Any]

    @property
    def lasts(self) -> bool:
        """Whether it runs until it is stopped; others are steps, which end by themselves."""
        return bool(self.options.get("restart", "no") != "no")

    @property
    def is_ours(self) -> bool:
        """Whether it runs our image."""
        return "build" in self.options

    @property
    def command(self) -> list[str]:
        """The arguments of its program."""
        return [str(word) for word in self.options.get("command", ())]

    @property
    def image(self) -> str:
        """The image that it runs."""
        return str(self.options["image"])

    @property
    def needs(self) -> dict[str, str]:
        """The services that must be there first, each with the condition to wait for."""
        return {name: how["condition"] for name, how in self.options.get("depends_on", {}).items()}

    @property
    def ports(self) -> list[int]:
        """The ports that it listens on, within the network."""
        return [int(port.rpartition(":")[2]) for port in self.options.get("ports", ())]

    @property
    def grace_s(self) -> float:
        """How long it may take to stop."""
        return float(str(self.options.get("stop_grace_period", "10s")).removesuffix("s"))

    def arguments(self, volumes: str) -> list[str]:
        """The options of `docker run`; named volumes begin with `volumes`.

        Raises ValueError for a key that is not known here, so that none is left out unnoticed.
        """
        known = VALUES.keys() | LISTS.keys() | SWITCHES.keys() | OTHERS
        if unknown := sorted(self.options.keys() - known):
            raise ValueError(f"{self.name}: tests/image/compose.py does not know {unknown}")
        return [*self._options(), *self._volumes(volumes), *self._health()]

    def _options(self) -> Iterator[str]:
        for key, flag in VALUES.items():
            if key in self.options:
                yield f"{flag}={self.options[key]}"
        for key, flag in LISTS.items():
            yield from (f"{flag}={value}" for value in self.options.get(key, ()))
        yield from (flag for key, flag in SWITCHES.items() if self.options.get(key))
        yield f"--stop-timeout={self.grace_s:.0f}"
        for name, value in self.options.get("environment", {}).items():
            yield f"--env={name}={value}"
        logging = self.options.get("logging")
        if logging:
            yield f"--log-driver={logging['driver']}"
            yield from (f"--log-opt={name}={value}" for name, value in logging["options"].items())

    def _volumes(self, prefix: str) -> Iterator[str]:
        for mount in self.options.get("volumes", ()):
            source, _, target = mount.partition(":")
            if source.startswith("."):
                yield f"--volume={(FILE.parent / source).resolve()}:{target}"
            else:
                yield f"--volume={prefix}-{source}:{target}"

    def _health(self) -> Iterator[str]:
        check = self.options.get("healthcheck", {})
        if check.get("disable"):
            yield "--no-healthcheck"
        if "test" in check:
            kind, *words = check["test"]
            yield f"--health-cmd={shlex.join(words) if kind == 'CMD' else words[0]}"
        for key in ("interval", "timeout", "retries"):
            if key in check:
                yield f"--health-{key}={check[key]}"


def variables() -> list[str]:
    """The names of the secrets that the compose file needs."""
    return re.findall(r"^(\w+)=$", EXAMPLE.read_text(), re.MULTILINE)


def services(secrets: Mapping[str, str]) -> list[Service]:
    """The services that start without being asked for, each after those that it needs."""
    filled = VARIABLE.sub(lambda match: secrets[match[1]], FILE.read_text())
    found = {
        name: Service(name, options)
        for name, options in yaml.safe_load(filled)["services"].items()
        if "profiles" not in options
    }
    order = TopologicalSorter({name: service.needs.keys() for name, service in found.items()})
    return [found[name] for name in order.static_order()]
