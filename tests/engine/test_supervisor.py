"""Background tasks that fail or end, and what is known of it meanwhile."""

import asyncio
import itertools

import pytest
import structlog
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.engine.clusters import Cluster, Host, Sight
from rowlock.engine.replication import Facts, Follower, Progress
from rowlock.engine.tasks import Task
from rowlock.engine.wakes import Wake
from rowlock.errors import OutboxStranded
from rowlock.services import COMMERCE
from rowlock.settings import Settings
from tests.support.health import problems
from tests.support.polling import until
from tests.support.proxy import Proxy
from tests.support.roles import create_app
from tests.support.services import changed, quiet
from tests.support.types import Client, Serve

READYZ = {
    "/readyz": {"database": "ok", "shutdown": "ok"},
    "/readyz/writes": {"writes": "ok"},
}


class Patient:
    """A task that fails or ends as often as it is told to, and then runs on."""

    def __init__(self, *mishaps: Exception | None) -> None:
        self.starts: list[float] = []
        self.stopped = False
        self._mishaps = list(mishaps)

    def recover(self) -> None:
        """Run on from the next start."""
        self._mishaps.clear()

    async def run(self) -> None:
        self.starts.append(asyncio.get_running_loop().time())
        if self._mishaps:
            mishap = self._mishaps.pop(0)
            if mishap is not None:
                raise mishap
            return
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped = True


@pytest.fixture
def serve(aiohttp_client: AiohttpClient, database_url: str, settings: Settings) -> Serve:
    """Start a commerce service with these tasks and some settings changed."""

    async def start(patients: dict[str, Patient], **changes: object) -> Client:
        quick = {
            "task_retry_s": 0.01,
            "task_retry_limit_s": 0.02,
            "task_healthy_s": 0.05,
            "readiness_timeout_s": 60,
            "readiness_every_s": 120,
        }
        tasks = [Task(name, patient.run) for name, patient in patients.items()]
        service = changed(COMMERCE, lambda parts: parts._replace(tasks=tasks))
        app = create_app(service, settings.changed(**(quick | changes)), database_url)
        return await aiohttp_client(app)

    return start


@pytest.mark.parametrize(
    ("mishap", "problem"),
    [
        (RuntimeError("secret"), "RuntimeError"),
        (TimeoutError(), "TimeoutError"),
        (OutboxStranded(), OutboxStranded.__doc__),
        (None, "the task has ended"),
    ],
    ids=repr,
)
async def test_task__fails_or_ends__told_meanwhile_and_recovers(
    serve: Serve, mishap: Exception | None, problem: str
) -> None:
    sick, well = Patient(*[mishap] * 1000), Patient()
    client = await serve({"sick": sick, "well": well}, task_retry_s=0.1, task_retry_limit_s=0.2)
    assert await until(lambda: problems(client)) == {"sick": problem}
    for path, own in READYZ.items():
        response = await client.get(path)
        assert response.status == 200
        assert (await response.json())["checks"] == own | {"task sick": problem}
    failing = 'rowlock_tasks_failing{service="commerce",task="sick"} 1.0'
    assert failing in await (await client.get("/metrics")).text()
    assert (await client.get("/products")).status == 200

    async def is_well() -> bool:
        return not await problems(client)

    sick.recover()
    await until(is_well)
    assert len(well.starts) == 1
    response = await client.get("/readyz")
    assert response.status == 200
    assert "task sick" not in (await response.json())["checks"]


async def test_task__started_again__counts_as_healthy_only_after_a_while(serve: Serve) -> None:
    sick = Patient(RuntimeError("once"))
    client = await serve({"sick": sick}, task_healthy_s=3600)
    await until(lambda: len(sick.starts) == 2)
    for _ in range(20):
        assert await problems(client) == {"sick": "RuntimeError"}


async def test_task__keeps_failing__pauses_double_up_to_the_limit(serve: Serve) -> None:
    sick = Patient(*[RuntimeError("again")] * 6)
    await serve({"sick": sick}, task_retry_s=0.02, task_retry_limit_s=0.08)
    await until(lambda: len(sick.starts) == 7)
    pauses = [later - start for start, later in itertools.pairwise(sick.starts)]
    # Half of it is by chance, so that many do not come back together.
    shortest = [0.01, 0.02, 0.04, 0.04, 0.04, 0.04]
    assert all(pause >= least for pause, least in zip(pauses, shortest, strict=True))


async def test_task__fails_after_a_long_run__first_pause_is_short_again(serve: Serve) -> None:
    starts: list[float] = []
    ended: list[float] = []
    loop = asyncio.get_running_loop()

    class Relapsing(Patient):
        async def run(self) -> None:
            starts.append(loop.time())
            if len(starts) == 10:
                await asyncio.sleep(3.1)  # longer than the limit
            ended.append(loop.time())
            raise RuntimeError("again")

    await serve({"sick": Relapsing()}, task_retry_s=0.01, task_retry_limit_s=3.0)
    await until(lambda: len(starts) >= 11)
    pauses = [start - end for start, end in zip(starts[1:], ended, strict=False)]
    assert pauses[8] >= 1.28  # the pause that has doubled eight times, or half of it
    assert pauses[9] < 1.28  # of 0.01, and what the machine adds


async def test_tasks__shutdown__all_are_stopped_before_the_database_is_closed(
    serve: Serve,
) -> None:
    patients = {name: Patient() for name in "abc"} | {
        "sick": Patient(*[RuntimeError("again")] * 1000)
    }
    client = await serve(patients, task_retry_limit_s=3600.0)
    await until(lambda: all(patient.starts for patient in patients.values()))
    async with asyncio.timeout(10):
        await client.close()
    assert [patient.stopped for patient in patients.values()] == [True, True, True, False]
    assert not {task.get_name() for task in asyncio.all_tasks()} & patients.keys()


async def test_watcher_of_a_host__fails__told_and_started_again(
    aiohttp_client: AiohttpClient,
    database_url: str,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saw, is_sick = Cluster.saw, False

    def stumble(cluster: Cluster, host: Host, sight: Sight) -> None:
        if is_sick and str(host[1]) in structlog.contextvars.get_contextvars().get("task", ""):
            raise RuntimeError("secret")
        saw(cluster, host, sight)

    monkeypatch.setattr(Cluster, "saw", stumble)
    async with Proxy.to(database_url) as one, Proxy.to(database_url) as other:
        url = one.url.replace(f":{one.port}/", f":{one.port},127.0.0.1:{other.port}/")
        quick = settings.changed(watch_s=0.05, task_retry_s=0.05, task_healthy_s=0.2)
        client = await aiohttp_client(create_app(quiet(COMMERCE), quick, url))
        assert await problems(client) == {}
        is_sick = True
        names = {f"watcher 127.0.0.1:{proxy.port}" for proxy in (one, other)}
        told: set[tuple[str, str]] = set()
        counted: set[str] = set()

        async def all_were_told() -> bool:
            """Each at some time: one that takes long to connect counts as healthy meanwhile."""
            told.update((await problems(client)).items())
            page = await (await client.get("/metrics")).text()
            counted.update(
                name
                for name in names
                if f'rowlock_tasks_failing{{service="commerce",task="{name}"}} 1.0' in page
            )
            return len(told) >= len(names) and counted == names

        await until(all_were_told)
        assert told == {(name, "RuntimeError") for name in names}
        is_sick = False

        async def none_fails() -> bool:
            return await problems(client) == {}

        await until(none_fails)


async def test_watch_of_standbys__fails__named_by_readyz_and_counted(
    aiohttp_client: AiohttpClient,
    database_url: str,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    note, problem, is_sick = Progress.note, Follower.problem, True

    def stumble_over_primary(progress: Progress, facts: Facts) -> None:
        if is_sick:
            raise RuntimeError("secret")
        note(progress, facts)

    def stumble_over_standby(follower: Follower, facts: Facts, progress: Progress) -> str | None:
        if is_sick:
            raise RuntimeError("secret")
        return problem(follower, facts, progress)

    monkeypatch.setattr(Progress, "note", stumble_over_primary)
    monkeypatch.setattr(Follower, "problem", stumble_over_standby)
    async with Proxy.to(database_url) as standby:
        quick = settings.changed(
            read_database_url=standby.url, watch_s=0.05, task_retry_s=0.05, task_healthy_s=0.2
        )
        client = await aiohttp_client(create_app(quiet(COMMERCE), quick, database_url))
        names = {"standbys", f"standby 127.0.0.1:{standby.port}"}

        async def all_are_told() -> bool:
            page = await (await client.get("/metrics")).text()
            told = await problems(client)
            return told == dict.fromkeys(names, "RuntimeError") and all(
                f'rowlock_tasks_failing{{service="commerce",task="{name}"}} 1.0' in page
                for name in names
            )

        await until(all_are_told)
        assert (await client.get("/invoices")).status == 200  # by the primary
        is_sick = False

        async def none_fails() -> bool:
            return await problems(client) == {}

        await until(none_fails)


async def test_wake__set_before_or_while_waiting__returns_at_once_and_once() -> None:
    wake = Wake()
    async with asyncio.timeout(10):
        wake.set()
        wake.set()
        await wake.wait(3600)
        waiting = asyncio.create_task(wake.wait(3600))
        await asyncio.sleep(0)
        wake.set()
        await waiting
    await wake.wait(0.01)  # nobody wakes it: the timeout does
    waiting = asyncio.create_task(wake.wait(3600))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(waiting, 0.05)
