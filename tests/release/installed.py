"""The wheel in an environment of its own: installed, described, and tried."""

import asyncio
import json
import signal
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import aiohttp
from packaging.utils import canonicalize_name

from tests.release import licences
from tests.release.artefacts import Failed, run
from tests.support.contract import bearer
from tests.support.documents import ROOT
from tests.support.polling import until
from tests.support.processes import Service

LOCK = ROOT / "requirements.lock"
EVENTS = bearer("development-events-token")


def install(wheel: Path, version: str, folder: Path) -> Path:
    """Make an environment with the wheel and the versions of the lock; return its Python."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin/python"
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    own = (*pip, "--python", str(python))
    run(*own, "install", "--require-hashes", "--requirement", LOCK)
    # By its name: an installation from a path would name that path in the list of parts.
    options = ("--no-index", "--no-deps", f"--find-links={wheel.parent}")
    run(*own, "install", *options, f"rowlock=={version}")
    run(*own, "check")
    return python


def describe(cyclonedx: Path, python: Path, version: str, file: Path) -> dict[str, Any]:
    """Write the list of an environment's parts, in CycloneDX's form; return it."""
    project = file.with_name("pyproject.toml")  # it doesn't read setup.cfg
    needed = json.dumps(_requirements((ROOT / "setup.cfg").read_text("utf-8")))
    project.write_text(
        f'[project]\nname = "rowlock"\nversion = "{version}"\ndependencies = {needed}\n'
    )
    options = ("--output-format=JSON", "--output-reproducible", f"--output-file={file}")
    run(cyclonedx, "environment", f"--pyproject={project}", *options, str(python))
    return dict(json.loads(file.read_text()))


def _requirements(setup: str) -> list[str]:
    """What Rowlock needs, with the extra `embedded`."""
    parser = ConfigParser(interpolation=None)
    parser.read_string(setup)
    lists = parser["options"]["install_requires"], parser["options.extras_require"]["embedded"]
    return [line for text in lists for line in text.split("\n") if line]


def missing(listed: dict[str, Any], version: str) -> list[str]:
    """Return a line for each part of the environment that a list lacks."""
    found = {(canonicalize_name(part["name"]), part["version"]) for part in listed["components"]}
    root = listed["metadata"]["component"]
    found.add((root["name"], root["version"]))
    pinned = set(licences.pins(LOCK.read_text()).items()) | {("rowlock", version)}
    return [f"the list of parts lacks {name} {number}" for name, number in sorted(pinned - found)]


async def try_out(python: Path, folder: Path) -> None:
    """Serve from `folder`, which is empty; place an order, read its event, and stop."""

    class Installed(Service):
        command = str(python.with_name("rowlock"))

    Installed.folder = folder
    async with Installed() as service, aiohttp.ClientSession() as session:

        async def call(method: str, url: str, **options: Any) -> Any:
            async with session.request(method, url, **options) as response:
                if response.status != 200:
                    raise Failed(f"{method} {url}: {response.status} {await response.text()}")
                return await response.json()

        await call("GET", f"{service.url}/api/users/johndoe")
        body = {"order": {"items": ["netflix"], "user_id": "johndoe"}}
        placed = await call("POST", f"{service.url}/api/orders", json=body)
        url = f"{service.events_url}/events?subject=order:{placed['order']['order_id']}"

        async def find() -> bool:
            found = await call("GET", url, headers=EVENTS)
            return [each["name"] for each in found] == ["benefit_order.placed"]

        await until(find, 30)
        service.signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            if status := await service.wait():
                raise Failed(f"rowlock serve has ended with {status}: {service.printed[-2000:]}")
