"""10,000 calls of rowlock.client while connections are cut and processes are killed: each once.

The calls that succeeded are what is in the database. Those that were refused are not there, and
those whose outcome the client could not tell are there once at most.
"""

import asyncio
import math
import random
import re
from collections import Counter
from dataclasses import dataclass, field

import psutil

from rowlock.client import (
    Budget,
    Commerce,
    NewInvoice,
    OutcomeUnknown,
    Policy,
    Refused,
    Unavailable,
)
from tests.support.cutting import Cutting
from tests.support.polling import until
from tests.support.processes import Service, doctor, free_port
from tests.support.types import Connection

SEED = 19
CALLS = 10_000
CONCURRENCY = 64
USERS = 20
OPENING = 3_000  # too little for all transfers, so that some are refused
HIGHEST = 500
CUT = 0.01  # of the pieces that are sent
# After how many calls a worker is killed, and the whole service.
WORKER_KILLS = (1_000, 2_000, 5_000, 6_000, 9_000)
SERVICE_KILLS = (3_000, 7_000)
BATCH = 3

# A deadline so short that some calls end before they know.
POLICY = Policy(deadline_s=4.0, attempt_timeout_s=2.0, first_pause_s=0.05, longest_pause_s=0.5)


@dataclass
class Told:
    """What the client was told of each call, by a label that only this call has."""

    done: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)  # and those that were unavailable
    unknown: set[str] = field(default_factory=set)
    codes: Counter[str] = field(default_factory=Counter)


async def send(shop: Commerce, number: int, rng: random.Random) -> None:
    """Make one of the calls. Raises CallFailed."""
    label = f"call-{number}"
    act = rng.random()
    if act < 0.4:
        one, other = rng.sample(range(1, USERS + 1), 2)
        await shop.transfers.make(
            from_user_id=one,
            to_user_id=other,
            amount=rng.randint(1, HIGHEST),
            label=label,
        )
    elif act < 0.8:
        user_id = rng.randint(1, USERS)
        await shop.invoices.create(user_id=user_id, amount=1, label=label)
    elif act < 0.9:
        user_id = rng.randint(USERS, USERS + 1)  # the last one is unknown
        await shop.invoices.create(user_id=user_id, amount=1, label=label)
    else:
        parts = [NewInvoice(1, 1, f"{label}-{part}") for part in range(BATCH)]
        outcomes = await shop.invoices.create_batch(parts)
        assert all(outcome.invoice for outcome in outcomes)


async def work(shop: Commerce, numbers: list[int], told: Told) -> None:
    """Make calls one after another, until there are none left."""
    while numbers:
        number = numbers.pop()
        label = f"call-{number}"
        try:
            await send(shop, number, random.Random(f"{SEED} {number}"))
        except OutcomeUnknown:
            told.unknown.add(label)
        except (Refused, Unavailable) as error:
            told.codes[error.code or "unreachable"] += 1
            told.refused.add(label)
        else:
            told.done.add(label)


async def kill(service: Service, numbers: list[int], rng: random.Random) -> Counter[str]:
    """Kill -9 workers and the whole service, which is started again; return how often."""
    kills: Counter[str] = Counter()
    for place in sorted([*WORKER_KILLS, *SERVICE_KILLS]):
        await until(lambda: len(numbers) <= CALLS - place, timeout_s=300)  # noqa: B023
        if place in SERVICE_KILLS:
            await kill_all(service)
            kills["service"] += 1
        else:
            rng.choice(service.workers()).kill()
            kills["worker"] += 1
        await service.start(service.url, 60)
    return kills


async def kill_all(service: Service) -> None:
    """Kill -9 the service with its workers, as a machine that loses its power."""
    family = [*service.workers(), psutil.Process(service.pid)]
    for process in family:
        process.kill()
    await service.wait()


async def test_client__cut_connections_and_kills__every_effect_once(
    database_url: str, events_database_url: str, connection: Connection
) -> None:
    await connection.execute(
        "INSERT INTO users (username) SELECT 'user-' || n FROM generate_series(1, $1) AS n",
        USERS,
    )
    urls = {"database_url": database_url, "events_database_url": events_database_url}
    nowhere = f"http://127.0.0.1:{free_port()}"  # no events are delivered
    service = Service("commerce", "--workers", "2", **urls, events_url=nowhere)
    rng = random.Random(SEED)
    told = Told()
    async with service:
        await fund(service)
        port = int(str(service.settings["commerce_port"]))
        async with Cutting.to(port, CUT, rng) as proxy:
            numbers = list(range(CALLS))
            async with (
                Commerce(
                    f"http://127.0.0.1:{proxy.port}",
                    policy=POLICY,
                    budget=Budget(reserve=math.inf),  # or an outage would end most calls at once
                    rng=random.Random(SEED),
                ) as shop,
                asyncio.TaskGroup() as tasks,
            ):
                killing = tasks.create_task(kill(service, numbers, rng))
                for _ in range(CONCURRENCY):
                    tasks.create_task(work(shop, numbers, told))
            kills = killing.result()
    stored = Counter(
        {
            str(row["label"]): row["count"]
            for row in await connection.fetch(
                "SELECT label, count(*) FROM ("
                " SELECT label FROM invoices UNION ALL SELECT label FROM transfers) AS documents "
                "WHERE label LIKE 'call-%' GROUP BY label"
            )
        }
    )
    compare(stored, told)
    print(len(told.done), "done", len(told.unknown), "unknown", told.codes, kills, proxy.cuts)
    assert len(told.done) + len(told.refused) + len(told.unknown) == CALLS
    assert len(told.done) > CALLS / 2  # on a slow machine, more end before they know
    assert kills["service"] == len(SERVICE_KILLS)
    assert kills["worker"] == len(WORKER_KILLS)
    assert min(proxy.cuts.values()) > 10
    assert {"insufficient_balance", "user_not_found"} <= set(told.codes)
    _, output = await doctor(**urls)
    assert re.search("^ok +money:", output, re.MULTILINE), output
    assert re.search("^ok +documents:", output, re.MULTILINE), output


async def fund(service: Service) -> None:
    """Give each user something to transfer."""
    async with Commerce(service.url) as shop:
        for user_id in range(1, USERS + 1):
            made = await shop.invoices.create(user_id=user_id, amount=OPENING, label="Opening")
            await shop.invoices.pay(made.id)


def compare(stored: Counter[str], told: Told) -> None:
    """Hold the documents that are stored to what the client was told."""
    assert {label for label, count in stored.items() if count > 1} == set()
    documents = Counter("-".join(label.split("-")[:2]) for label in stored)
    assert set(documents.values()) <= {1, BATCH}  # a batch is stored as a whole
    found = set(documents)
    assert told.done - found == set()
    assert found & told.refused == set()
    assert found <= told.done | told.unknown
