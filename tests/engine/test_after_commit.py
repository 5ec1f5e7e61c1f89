"""Nothing after a COMMIT leads back into its batch, and every caller gets an answer."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import structlog

from rowlock.accounts.rules import CreateUser
from rowlock.accounts.transactions import create_users
from rowlock.engine.database import Database
from rowlock.engine.lanes import Lane, Observer, WriteLane
from rowlock.engine.wakes import Wake
from rowlock.errors import Draining, OutcomeUnknown, Overloaded, Unavailable
from rowlock.settings import Settings
from tests.support.polling import until
from tests.support.types import Connection

NAMES = ["ada", "bob", "eve", "grace", "kay"]
POINTS = ("ran", "retried", "split", "refused", "set", "log")


class Fault(Exception):
    """What a test lets fail."""


@dataclass
class Faulty(Observer, Wake):
    """Fails at one point, and counts how often it did."""

    point: str
    failed: int = field(default=0)

    def __post_init__(self) -> None:
        Wake.__init__(self)

    def reach(self, point: str) -> None:
        if point == self.point:
            self.failed += 1
            raise Fault(point)

    def ran(self, items: int, wait_s: float, duration_s: float) -> None:
        self.reach("ran")

    def retried(self) -> None:
        self.reach("retried")

    def split(self) -> None:
        self.reach("split")

    def refused(self, reason: str) -> None:
        self.reach("refused")

    def set(self) -> None:
        self.reach("set")

    def log(self, *_: object) -> dict[str, object]:
        self.reach("log")
        raise structlog.DropEvent


@pytest.fixture(params=POINTS)
def faulty(request: pytest.FixtureRequest) -> Iterator[Faulty]:
    faulty = Faulty(request.param)
    before = structlog.get_config()
    structlog.configure(processors=[faulty.log], cache_logger_on_first_use=False)
    yield faulty
    structlog.configure(**before)


async def test_commit__what_comes_after_it_fails__each_command_takes_effect_once(
    database: Database, connection: Connection, settings: Settings, faulty: Faulty
) -> None:
    """A poison command splits the batch; a conflict lets it run again."""
    attempts = 0

    async def create(batch: object, commands: list[CreateUser]) -> list[bool]:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            await batch.execute("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")  # type: ignore[attr-defined]
        return await create_users(batch, commands)  # type: ignore[arg-type]

    lane = WriteLane("test", database, create, settings.batches, wakes=faulty)
    lane.observer = faulty
    results = await asyncio.gather(
        *(lane.submit(CreateUser(name, 100)) for name in [*NAMES, "po\0ison"]),
        return_exceptions=True,
    )
    assert results[:-1] == [True] * len(NAMES)
    assert isinstance(results[-1], Exception)
    await lane.close()
    with pytest.raises(Draining):
        await lane.submit(CreateUser("late", 100))
    assert faulty.failed > 0
    rows = await connection.fetch("SELECT username FROM users ORDER BY username")
    assert [row["username"] for row in rows] == NAMES
    assert await connection.fetchval("SELECT count(*) FROM ledger_entries") == len(NAMES)
    assert await connection.fetchval("SELECT count(*) FROM outbox") == len(NAMES)


async def test_observer__always_fails__logged_once(settings: Settings) -> None:
    async def run(items: list[int]) -> list[int]:
        return items

    lane = Lane[int, int]("test", run, settings.batches)
    lane.observer = Faulty("ran")
    with structlog.testing.capture_logs() as lines:
        assert [await lane.submit(item) for item in range(5)] == [0, 1, 2, 3, 4]
    assert [line["event"] for line in lines] == ["observer_failed"]


class Slow:
    """A `run` that fails for more than one item, and waits from a given batch on."""

    def __init__(self, waits_at: int) -> None:
        self.batches: list[list[int]] = []
        self.waits_at = waits_at

    async def run(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        if len(self.batches) >= self.waits_at:
            await asyncio.Event().wait()
        if len(items) > 1:
            raise Fault
        return items


def drain_task(lane: Lane[int, int]) -> "asyncio.Task[None]":
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == f"lane {lane.name}"]
    return task


@pytest.mark.parametrize("waits_at", [1, 2, 3, 4, 6])
async def test_lane__cancelled_at_any_batch_of_a_split__every_caller_is_answered(
    settings: Settings, waits_at: int
) -> None:
    slow = Slow(waits_at)
    lane = Lane[int, int]("test", slow.run, settings.changed(batch_items=4).batches)
    callers = [asyncio.create_task(lane.submit(item)) for item in range(10)]
    await until(lambda: len(slow.batches) == waits_at)
    drain_task(lane).cancel()
    async with asyncio.timeout(60):
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
        await lane.close()
    done = [items[0] for items in slow.batches[:-1] if len(items) == 1]
    assert outcomes[: len(done)] == done
    assert {type(outcome) for outcome in outcomes[len(done) : 4]} <= {OutcomeUnknown}
    assert {type(outcome) for outcome in outcomes[4:]} == {Unavailable}


async def test_lane__cancelled_before_it_began__every_caller_is_answered_and_it_goes_on(
    settings: Settings,
) -> None:
    slow = Slow(99)
    lane = Lane[int, int]("test", slow.run, settings.batches)
    callers = [asyncio.create_task(lane.submit(item)) for item in range(3)]
    loop = asyncio.get_running_loop()
    loop.call_soon(lambda: drain_task(lane).cancel())
    async with asyncio.timeout(60):
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {Unavailable}
        assert await lane.submit(7) == 7
    assert slow.batches == [[7]]


def answer_tasks(lane: Lane[int, int]) -> "list[asyncio.Task[None]]":
    name = f"answers {lane.name}"
    return [task for task in asyncio.all_tasks() if task.get_name() == name]


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_lane__cancelled_while_it_answers__every_caller_gets_its_result(
    settings: Settings, turns: int
) -> None:
    async def run(items: list[int]) -> list[int]:
        return items

    lane = Lane[int, int]("test", run, settings.changed(batch_answers=1).batches)
    callers = [asyncio.create_task(lane.submit(item)) for item in range(20)]
    while not answer_tasks(lane):  # noqa: ASYNC110
        await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    for task in answer_tasks(lane):
        task.cancel()
    async with asyncio.timeout(60):
        assert await asyncio.gather(*callers) == list(range(20))
        await lane.close()


@pytest.mark.parametrize("tell", ["queue_full", "too_late"])
async def test_lane__observer_fails_as_an_item_is_refused__the_item_is_told_why(
    settings: Settings, tell: str
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def run(items: list[int]) -> list[int]:
        begun.set()
        await go_on.wait()
        return items

    lane = Lane[int, int]("test", run, settings.changed(batch_queue=1, batch_wait_s=0.6).batches)
    lane.observer = Faulty("refused")
    first = asyncio.create_task(lane.submit(0))
    await begun.wait()
    second = asyncio.create_task(lane.submit(1))
    await asyncio.sleep(0)
    if tell == "queue_full":
        with pytest.raises(Overloaded):
            await lane.submit(2)
    loop = asyncio.get_running_loop()
    started = loop.time()
    await until(lambda: loop.time() > started + 0.7)
    go_on.set()
    assert await first == 0
    with pytest.raises(Overloaded):
        await second
