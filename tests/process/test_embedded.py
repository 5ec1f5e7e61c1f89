"""The embedded PostgreSQL dies, and comes back while the services run on."""

import os
import signal
from pathlib import Path

import aiohttp
import psutil
import pytest

from rowlock.errors import StartRefused
from rowlock.ops import embedded
from tests.support.polling import until
from tests.support.processes import Service, rowlock


def postmaster(data_dir: Path) -> psutil.Process | None:
    """The server's process, if there is one."""
    try:
        pid = int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
        process = psutil.Process(pid)
        return process if process.status() != psutil.STATUS_ZOMBIE else None
    except (FileNotFoundError, IndexError, psutil.NoSuchProcess):
        return None


async def can_write(session: aiohttp.ClientSession, service: Service) -> bool:
    async with session.get(f"{service.url}/api/users/newcomer") as response:
        return response.status == 200


@pytest.mark.parametrize(
    ("signum", "workers"), [(signal.SIGKILL, "1"), (signal.SIGQUIT, "2")], ids=str
)
async def test_serve__embedded_server_dies__comes_back_and_stops_in_the_end(
    tmp_path: Path, signum: signal.Signals, workers: str
) -> None:
    async with (
        Service("commerce", "--workers", workers, data_dir=tmp_path) as service,
        aiohttp.ClientSession() as session,
    ):
        first = postmaster(tmp_path)
        assert first is not None
        first.send_signal(signum)
        await until(lambda: postmaster(tmp_path) not in {None, first})
        await until(lambda: can_write(session, service))
        assert service.printed.count("embedded_server_gone") == 1
        service.signal(signal.SIGTERM)
        assert await service.wait() == 0
    assert postmaster(tmp_path) is None


async def test_serve__two_on_one_embedded_server_that_dies__it_comes_back_for_both(
    tmp_path: Path,
) -> None:
    async with (
        Service("commerce", data_dir=tmp_path) as one,
        Service("commerce", data_dir=tmp_path) as other,
        aiohttp.ClientSession() as session,
    ):
        first = postmaster(tmp_path)
        assert first is not None
        first.kill()
        await until(lambda: postmaster(tmp_path) not in {None, first})
        await until(lambda: can_write(session, one))
        one.signal(signal.SIGTERM)
        assert await one.wait() == 0
        await until(lambda: can_write(session, other))
    assert postmaster(tmp_path) is None


async def test_command__locale_that_is_not_there__embedded_server_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LANG"):
        monkeypatch.setenv(name, "xx_YY.UTF-8")
    status, output = await rowlock("seed", data_dir=tmp_path)
    assert status == 0, output


async def test_command__data_folder_holds_something_else__told_by_initdb_and_kept(
    tmp_path: Path,
) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "precious").write_text("data")
    status, output = await rowlock("seed", data_dir=tmp_path)
    assert status == 1
    assert output.startswith("rowlock: The embedded PostgreSQL does not start: initdb: error: ")
    assert "exists but is not empty" in output
    assert output.count("\n") == 1
    assert (tmp_path / "postgres" / "precious").read_text() == "data"


def test_server__runs_but_does_not_answer__said_so_with_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "LEFTOVERS_TIMEOUT_S", 1)
    monkeypatch.setattr(embedded, "CONNECT_TIMEOUT_S", 2)
    with embedded.running(tmp_path, start_timeout_s=60):
        pid = int((tmp_path / "postgres/postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGSTOP)
        try:
            with (
                pytest.raises(StartRefused, match=f"does not answer: it runs as process {pid}"),
                embedded.running(tmp_path, start_timeout_s=1),
            ):
                pass
        finally:
            os.kill(pid, signal.SIGCONT)
