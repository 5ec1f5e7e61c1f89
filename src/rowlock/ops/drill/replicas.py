"""A drill on a primary with standbys: what happens to the primary, and two machines that serve.

A commit waits for one of the standbys, and the one that has received most is promoted. So nothing
that was acknowledged may be lost.
"""

import asyncio
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from rowlock.ops.drill.cluster import DATABASES, Cluster, make_seed
from rowlock.ops.drill.processes import ServeProcess, free_port
from rowlock.ops.drill.stack import Place, Processes
from rowlock.settings.names import ServiceName

MACHINES = 2
WORKERS = 2  # of each service on each machine
POOL = 4  # connections of each: they share those of one small server
BETWEEN_ACTS_S = 4.0  # on average
FROZEN_S = (0.5, 3.0)  # for how long a primary is frozen before it is fenced


class Servers(Processes):
    """`rowlock serve` with all services, as on several machines. Their logs are in `data_dir`."""

    def __init__(self, data_dir: Path, database_urls: dict[str, str]) -> None:
        super().__init__()
        self._places = [
            Place(data_dir, database_urls, pool_connections=POOL) for _ in range(MACHINES)
        ]
        for number, place in enumerate(self._places, start=1):
            name = f"machine {number}"
            self._probed[name] = place.urls[ServiceName.COMMERCE]
            self._services[name] = ServeProcess(
                *("--workers", str(WORKERS)),
                environment=place.environment,
                output=data_dir / f"machine{number}.log",
            )

    def urls_for(self, client: int) -> dict[str, str]:
        """Return the URLs of the services that a client uses."""
        return self._places[client % MACHINES].urls


@contextmanager
def running(data_dir: Path, replicas: int) -> Iterator[Cluster]:
    """Lend a new cluster in `data_dir`, of a primary and so many standbys."""
    seed = make_seed(data_dir, free_port())
    with Cluster.running(seed, data_dir, replicas + 1, synchronous=True) as cluster:
        shutil.rmtree(seed)
        yield cluster


def urls_of(cluster: Cluster) -> dict[str, str]:
    """Return the URLs of the databases, which name all hosts, by the names of the databases."""
    return {role: cluster.url(name) for name, role in DATABASES.items()}


async def break_primary(
    cluster: Cluster, stop: asyncio.Event, done: Counter[str], rng: random.Random
) -> None:
    """Let things happen to the primary, each kind once in a while, until told to stop.

    After each, all standbys stream again. Raises StartRefused if that takes too long.
    """
    while True:
        for name in rng.sample(list(ACTS), len(ACTS)):
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), rng.expovariate(1 / BETWEEN_ACTS_S))
            if stop.is_set():
                return
            await asyncio.to_thread(ACTS[name], cluster, rng)
            done[name] += 1


def _kill(cluster: Cluster, rng: random.Random) -> None:
    former = cluster.primary
    former.kill()
    cluster.promote(cluster.furthest())
    cluster.rejoin(former, rewound=rng.random() < 0.5)  # noqa: PLR2004


def _freeze(cluster: Cluster, rng: random.Random) -> None:
    """Freeze the primary; then do what a cluster's watchdog does before another one is promoted."""
    cluster.primary.freeze()
    time.sleep(rng.uniform(*FROZEN_S))
    _kill(cluster, rng)


def _switch_over(cluster: Cluster, _: random.Random) -> None:
    cluster.switchover()
    cluster.wait_until_all_stream()


ACTS: Mapping[str, Callable[[Cluster, random.Random], None]] = {
    "primary killed": _kill,
    "primary frozen": _freeze,
    "switched over": _switch_over,
}
