"""The wheel, built from what an image gets, in an environment and a folder of its own."""

import asyncio
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import aiohttp
import pytest

from rowlock.ops.drill.processes import environment
from tests.support.contract import bearer
from tests.support.processes import Service

ROOT = Path(__file__).parents[2]
DOCKERIGNORE = (ROOT / ".dockerignore").read_text().splitlines()

REQUESTS = {
    "url": ("/api/users/johndoe", {}),
    "projects_url": ("/projects", bearer("development-projects-token")),
    "events_url": ("/events?limit=1", bearer("development-events-token")),
}


class Installed(Service):
    """The service as the wheel has it."""

    def __init__(self, python: Path, folder: Path) -> None:
        super().__init__()
        self.command = str(python.with_name("rowlock"))
        self.folder = folder


def run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what .dockerignore lets through to the image's build."""
    folder = tmp_path_factory.mktemp("context")
    for name in (line.removeprefix("!") for line in DOCKERIGNORE if line.startswith("!")):
        (folder / name).parent.mkdir(exist_ok=True)
        if (ROOT / name).is_dir():
            unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def python(context: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel, and with our dependencies."""
    dist, venv = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("venv")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", dist, context)
    run(sys.executable, "-m", "venv", "--without-pip", venv)
    [wheel] = dist.iterdir()
    run(*pip, "--python", venv / "bin/python", "install", "--no-index", "--no-deps", wheel)
    # The dependencies are those at hand. This path comes after the wheel's, and what makes our
    # editable installation work, a .pth file, is not read in a folder that is itself in one.
    [site_packages] = venv.glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return venv / "bin/python"


async def test_wheel__empty_folder__serves_everything(python: Path, tmp_path: Path) -> None:
    where = run(python, "-c", "import rowlock; print(rowlock.__file__)")
    assert where.startswith(str(python.parents[1]))
    async with Installed(python, tmp_path) as service, aiohttp.ClientSession() as session:
        for url, (path, headers) in REQUESTS.items():
            async with session.get(f"{getattr(service, url)}{path}", headers=headers) as response:
                assert response.status == 200, await response.text()
        service.signal(signal.SIGTERM)  # the embedded server stops with it
        assert await service.wait() == 0


async def test_healthcheck__of_the_image__tells_whether_a_service_answers(
    python: Path, context: Path, database_url: str
) -> None:
    async def check(service: Service) -> int:
        ports = {name: port for name, port in service.settings.items() if name.endswith("_port")}
        process = await asyncio.create_subprocess_exec(
            *(python, context / "docker/healthcheck.py"),
            env=environment(**ports),
            stderr=asyncio.subprocess.DEVNULL,
        )
        return await process.wait()

    async with Service("commerce", database_url=database_url) as service:
        assert await check(service) == 0
        await service.kill()
        assert await check(service) == 1
