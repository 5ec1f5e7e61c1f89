"""The examples, run by the commands of their page, against real services."""

import asyncio
import json
import re
import runpy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from rowlock.ops.drill.processes import environment
from tests.support import documents
from tests.support.contract import bearer
from tests.support.documents import EXAMPLE, ROOT
from tests.support.polling import until
from tests.support.processes import Service, free_port

README = "docs/examples/README.md"
EVENTS = bearer("development-events-token")
USERS = 12
PURCHASE = {"user_id": 1, "lines": [{"product_id": 1, "quantity": 2}]}
# Some minutes after midnight, the day before is not exported yet.
YESTERDAY = (datetime.now(UTC) - timedelta(days=1, minutes=15)).date()


def command(word: str, **changes: object) -> str:
    """The command of the page that has this word, with some of its words changed."""
    [found] = [
        block.text.replace("\\\n", "").strip()
        for block in documents.blocks(README)
        if block.mark == EXAMPLE and word in block.text
    ]
    for shown, own in changes.items():
        assert shown in found
        found = found.replace(shown, str(own))
    return found


class Example:
    """A command of the page, as a process in a folder that looks like the repository's."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.printed = ""
        self.process = process

    @classmethod
    async def start(cls, folder: Path, text: str) -> "Example":
        link = folder / "docs"
        if not link.exists():
            link.symlink_to(ROOT / "docs")
        return cls(
            await asyncio.create_subprocess_exec(
                *("bash", "-c", f"exec env {text}"),
                cwd=folder,
                env=environment() | {"PATH": documents.search_path()},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        )

    async def read(self) -> None:
        """Keep what it prints, until it ends."""
        assert self.process.stdout is not None
        while data := await self.process.stdout.read(65_536):
            self.printed += data.decode()


async def run(folder: Path, text: str) -> tuple[int, str]:
    """Run a command to its end; return its status and what it printed."""
    example = await Example.start(folder, text)
    await example.read()
    return await example.process.wait(), example.printed


@asynccontextmanager
async def running(folder: Path, text: str) -> AsyncIterator[Example]:
    """Lend a process that runs until it is told to end."""
    example = await Example.start(folder, text)
    reading = asyncio.create_task(example.read())
    try:
        yield example
    finally:
        if example.process.returncode is None:
            example.process.terminate()
        await example.process.wait()
        await reading


@pytest.fixture
async def service(database_url: str, events_database_url: str) -> AsyncIterator[Service]:
    """All services, with a product and users."""
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO products (slug, name, price) VALUES ('x', 'X', 500)")
        connection.execute(
            "INSERT INTO users (username, balance) "
            "SELECT 'user-' || n, 0 FROM generate_series(1, %s) AS n",
            [USERS],
        )
    urls = {"database_url": database_url, "events_database_url": events_database_url}
    async with Service(**urls, webhooks_private=1) as service:
        yield service


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_selling_service__purchase_sent_again_and_service_gone__one_order(
    service: Service, session: aiohttp.ClientSession, tmp_path: Path, database_url: str
) -> None:
    port = free_port()
    started = command("uvicorn", **{"http://localhost:4000": service.url, "8000": port})

    async def buy(number: int, purchase: Any = PURCHASE) -> tuple[int, Any]:
        url = f"http://localhost:{port}/purchases/{number}"
        async with session.put(url, json=purchase) as response:
            return response.status, await response.json()

    def count() -> Any:
        with psycopg.connect(database_url) as connection:
            [row] = connection.execute("SELECT count(*), min(reference) FROM orders").fetchall()
            return row

    async with running(tmp_path, started) as example:
        await until(lambda: "Application startup complete" in example.printed, timeout_s=60)
        status, printed = await run(
            tmp_path, command("curl", **{"localhost:8000": f"localhost:{port}"})
        )
        assert status == 0, printed
        placed = json.loads(printed)
        assert placed["amount_cents"] == 1000

        found = await asyncio.gather(*(buy(1001) for _ in range(5)))
        assert {(status, body["order_id"]) for status, body in found} == {(201, placed["order_id"])}
        with psycopg.connect(database_url) as connection:
            connection.execute("DELETE FROM idempotency_keys")
        assert (await buy(1001))[1]["order_id"] == placed["order_id"]
        assert count() == (1, "purchase-1001")

        unknown = [{"product_id": 99, "quantity": 1}]
        assert await buy(1002, PURCHASE | {"lines": unknown}) == (
            404,
            {"detail": "products_not_found"},
        )
        assert (await buy(1002, PURCHASE | {"lines": []}))[0] == 422
        await service.kill()
        assert await buy(1003) == (503, {"detail": "try_later"})


async def test_webhook_receiver__webhook_comes_twice_and_one_is_forged__worked_on_once(
    service: Service, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    port = free_port()
    hook = f"http://127.0.0.1:{port}/hook"

    async def call(method: str, path: str, body: Any = None) -> Any:
        url = f"{service.events_url}{path}"
        async with session.request(method, url, json=body, headers=EVENTS) as response:
            assert response.status < 300, await response.text()
            return await response.json()

    made = await call("POST", "/subscriptions", {"url": hook, "names": ["x.*"]})
    subscription = f"/subscriptions/{made['id']}"

    async def delivered(count: int) -> bool:
        found = await call("GET", subscription)
        return bool(found["delivered"] == count)

    started = command("webhook_receiver", **{"whsec_…": made["secret"], " 8080": f" {port}"})
    async with running(tmp_path, started) as example:
        await until(lambda: _listens(port), timeout_s=60)
        await call("POST", "/events", {"name": "x.made", "payload": {"n": 1}})
        await until(lambda: "x.made" in example.printed)
        await until(lambda: delivered(1))
        [delivery] = await call("GET", f"{subscription}/deliveries")
        await call("POST", f"/deliveries/{delivery['id']}/resend", {})
        await until(lambda: delivered(2))
        async with session.post(hook, data=b"{}", headers={"webhook-id": "9"}) as response:
            assert response.status == 401
        await call("POST", "/events", {"name": "x.ended", "payload": {}})
        await until(lambda: "x.ended" in example.printed)
        assert example.printed.count("x.made") == 2  # the line has it in front, and in the body
    async with running(tmp_path, started) as example:
        await until(lambda: _listens(port), timeout_s=60)
        await call("POST", "/events", {"name": "x.later", "payload": {}})
        await until(lambda: "x.later" in example.printed)
        assert "x.made" not in example.printed


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_statement_export__some_are_missing__only_these_are_written(
    service: Service, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    text = command(
        "statement_export", **{"http://localhost:4000": service.url, "2026-11-29": YESTERDAY}
    )
    assert await run(tmp_path, text) == (0, f"{USERS} statements written.\n")
    folder = tmp_path / "statements" / YESTERDAY.isoformat()
    files = sorted(folder.iterdir())
    assert {file.name for file in files} == {
        "COMPLETE",
        *(f"{number}.csv" for number in range(1, USERS + 1)),
    }
    period = {"from": f"{YESTERDAY}T00:00:00Z", "to": f"{YESTERDAY + timedelta(days=1)}T00:00:00Z"}
    url = f"{service.url}/user/7/statement"
    async with session.get(url, params=period, headers={"Accept": "text/csv"}) as response:
        assert (folder / "7.csv").read_bytes() == await response.read()
    assert await run(tmp_path, text) == (0, "0 statements written.\n")

    whole = {file.name: file.stat().st_ino for file in files}
    for name in ("COMPLETE", "3.csv", "7.csv"):
        (folder / name).unlink()
    (folder / "7.part").write_bytes(b"half of it")  # as a process leaves it that was killed
    assert await run(tmp_path, text) == (0, "2 statements written.\n")
    now = {file.name: file.stat().st_ino for file in folder.iterdir()}
    assert now.keys() == whole.keys()
    others = now.keys() - {"COMPLETE", "3.csv", "7.csv"}
    assert all(now[name] == whole[name] for name in others)

    later = text.replace(YESTERDAY.isoformat(), datetime.now(UTC).date().isoformat())
    status, printed = await run(tmp_path, later)
    assert status == 1
    assert "is not over yet" in printed


def test_statement_export__day_has_only_just_ended__commits_are_waited_for() -> None:
    is_settled = runpy.run_path(str(ROOT / "docs/examples/statement_export.py"))["is_settled"]
    midnight = datetime(2026, 11, 30, tzinfo=UTC)
    assert not is_settled(midnight, midnight + timedelta(seconds=1))
    assert is_settled(midnight, midnight + timedelta(minutes=15))


async def test_load_test__own_machine_and_another__measured_and_refused(
    service: Service, tmp_path: Path
) -> None:
    text = command(
        "load_test", **{"http://localhost:4000": service.url, "rate 200": "rate 50", "10": "1"}
    )
    status, printed = await run(tmp_path, text)
    assert status == 0, printed
    assert "50 answered, 0 failed" in printed
    shown = [float(each) for each in re.findall(r"^(?:p\d+|max) +([\d.]+) ms$", printed, re.M)]
    assert len(shown) == 4
    assert shown == sorted(shown)
    assert shown[0] > 0

    status, printed = await run(tmp_path, text.replace(service.url, "http://192.0.2.1:4000"))
    assert status == 2
    assert "Load only a service on this machine" in printed


def test_page__each_example__is_named_with_a_command() -> None:
    """That of the reader of NATS is run by test_nats."""
    page = documents.read(README)
    for path in (ROOT / "docs/examples").glob("*.py"):
        assert f"]({path.name})" in page
        assert command(path.stem)
