"""Rowlock in front of the cluster, once for each way of dialling it, and the clients of each."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise

import aiohttp

from rowlock.ops.drill import WRITTEN_TO
from rowlock.ops.drill.acts import ACTS
from rowlock.ops.drill.clients import Client, Grounds
from rowlock.ops.drill.journal import DONE, Journal
from rowlock.ops.drill.processes import HOST, ServeProcess, environment, free_port
from rowlock.settings.kinds import PREFIX
from rowlock.settings.names import ServiceName
from tests.ha.cluster import Cluster
from tests.support.scraping import scrape

CLIENTS = 6  # of each Rowlock
READY_S = 300.0
STOP_S = 120.0
GIVE_UP_S = 300.0  # a client whose write has no answer by then
LIST_EVERY_S = 0.1
LISTS = ("/orders?limit=20", "/invoices?limit=20")  # from a standby
UNAVAILABLE = 503
METRICS_TOKEN = "metrics-token-of-make-ha"
TARGETS = ("standby", "primary")


@dataclass
class Answers:
    """What the clients of one Rowlock were answered, and when."""

    acknowledged: list[float] = field(default_factory=list)  # by time.monotonic()
    statuses: Counter[int] = field(default_factory=Counter)

    def has_written(self, moment: float) -> bool:
        """Tell whether a write was acknowledged after `moment`."""
        return bool(self.acknowledged) and self.acknowledged[-1] > moment

    def longest_silence(self, moment: float) -> tuple[float, float]:
        """Return when the longest silence that ended after `moment` began and ended."""
        times = sorted(self.acknowledged)
        gaps = [(before, after) for before, after in pairwise(times) if after > moment]
        return max(gaps, key=lambda gap: gap[1] - gap[0])

    @property
    def errors(self) -> int:
        """Answers that say that the service failed, but for those that say when to come back."""
        return sum(
            count
            for status, count in self.statuses.items()
            if status >= 500 and status != UNAVAILABLE
        )

    def tracing(self) -> aiohttp.TraceConfig:
        """Return what tells a session to note its answers here."""
        config = aiohttp.TraceConfig()
        config.on_request_end.append(self._note)
        return config

    async def _note(
        self, _: aiohttp.ClientSession, __: object, params: aiohttp.TraceRequestEndParams
    ) -> None:
        self.statuses[params.response.status] += 1
        if params.method != "GET" and params.response.status in DONE:
            self.acknowledged.append(time.monotonic())


class Rowlock:
    """`rowlock serve` with workers, all services, by one way of dialling."""

    def __init__(
        self, cluster: Cluster, way: str, urls: dict[str, str], **settings: object
    ) -> None:
        self.way = way
        self.read_from: dict[str, int] = {}  # how many lists, by target, once it has stopped
        ports = {name: free_port() for name in ServiceName}
        self.urls: dict[str, str] = {name: f"http://{HOST}:{port}" for name, port in ports.items()}
        folder = cluster.files.folder / f"rowlock-{way}"
        folder.mkdir()
        shown = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in cluster.files.environment("rowlock.env").items()
        }
        own = {
            "events_url": self.urls["events"],
            "log_requests": 0,
            "metrics_token": METRICS_TOKEN,
            **{f"{name}_port": port for name, port in ports.items()},
        }
        self._process = ServeProcess(
            "--workers",
            "2",
            environment=environment(**(shown | urls | own | settings)) | {"TMPDIR": str(folder)},
            output=folder / "log",
            folder=folder,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run it; stop it by SIGTERM in the end."""
        await self._process.start(self.urls["commerce"], READY_S)
        yield
        self.read_from = await self._count_lists()
        self._process.signal(signal.SIGTERM)
        if status := await self._process.wait(STOP_S):
            raise RuntimeError(f"Rowlock ended with {status}, see {self._process.output}")

    async def read_lists(self, session: aiohttp.ClientSession, stop: asyncio.Event) -> None:
        """Ask for lists, which may be as old as ROWLOCK_READ_LAG_S; `session` notes the answers."""
        while not stop.is_set():
            for path in LISTS:
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(self.urls["commerce"] + path) as response:
                        await response.read()
                await asyncio.sleep(LIST_EVERY_S)

    async def _count_lists(self) -> dict[str, int]:
        async with aiohttp.ClientSession() as session:
            page = await scrape(
                session,
                f"{self.urls['commerce']}/metrics",
                {"Authorization": f"Bearer {METRICS_TOKEN}"},
            )
        return {
            target: int(page.value("rowlock_list_reads_total", target=target)) for target in TARGETS
        }


def rowlocks(cluster: Cluster) -> list[Rowlock]:
    """Return one for each way of dialling."""

    def urls(by: str) -> dict[str, str]:
        way = getattr(cluster, by)
        main, events = way("rowlock"), way("rowlock_events")
        option = "" if by == "by_hosts" else "?target_session_attrs=primary"
        return {"database_url": main + option, "events_database_url": events + option}

    prepared = int(cluster.pooler_keeps_statements)
    return [
        Rowlock(cluster, "hosts", urls("by_hosts")),
        Rowlock(cluster, "haproxy", urls("by_proxy")),
        Rowlock(cluster, "pgbouncer", urls("by_pooler"), prepared_statements=prepared),
    ]


@asynccontextmanager
async def clients_of(
    served: list[Rowlock], grounds: Grounds, journal: Journal, seed: int
) -> AsyncIterator[dict[str, Answers]]:
    """Let clients write and read meanwhile; each finishes what it has begun."""
    stop = asyncio.Event()
    answers = {rowlock.way: Answers() for rowlock in served}
    async with AsyncExitStack() as stack:
        sessions = [
            await stack.enter_async_context(
                aiohttp.ClientSession(trace_configs=[answers[rowlock.way].tracing()])
            )
            for rowlock in served
        ]
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(stop.set)
        number = 0
        for rowlock, session in zip(served, sessions, strict=True):
            tasks.create_task(rowlock.read_lists(session, stop))
            for place in range(CLIENTS):
                service = WRITTEN_TO[place % len(WRITTEN_TO)]
                rng = random.Random(f"{seed} client {number}")
                client = Client(
                    number,
                    service,
                    session,
                    rowlock.urls,
                    grounds,
                    journal,
                    rng,
                    give_up_s=GIVE_UP_S,
                )
                tasks.create_task(client.run(stop, ACTS[service]))
                number += 1
        yield answers
