"""Clients that issue invoices whatever happens, and remember what they were told."""

import asyncio
import contextlib
import itertools
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import psycopg

PAUSE_S = 0.05
ANSWER_TIMEOUT = aiohttp.ClientTimeout(total=20)


@dataclass
class Writers:
    """Each sends an invoice with an Idempotency-Key again until it is acknowledged."""

    clients: int = 8
    work: str = "work"  # how the labels of their invoices begin
    headers: dict[str, str] = field(default_factory=dict)  # of each request
    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)  # by their code
    acknowledged: dict[str, int] = field(default_factory=dict)  # the invoices' ids, by label
    times: list[float] = field(default_factory=list)  # of acknowledgements, by time.monotonic()

    @contextlib.asynccontextmanager
    async def running(self, url: str) -> AsyncIterator["Writers"]:
        """Write to the commerce service at `url` meanwhile; each finishes what it has begun."""
        stop = asyncio.Event()
        async with aiohttp.ClientSession(timeout=ANSWER_TIMEOUT, headers=self.headers) as session:
            labels = (f"{self.work} {number}" for number in itertools.count())
            clients = [
                asyncio.create_task(self._write(session, url, labels, stop))
                for _ in range(self.clients)
            ]
            try:
                yield self
            finally:
                stop.set()
                await asyncio.gather(*clients)

    async def _write(
        self,
        session: aiohttp.ClientSession,
        url: str,
        labels: Iterator[str],
        stop: asyncio.Event,
    ) -> None:
        while not stop.is_set():
            body = {"user_id": 1, "amount": 100, "label": next(labels)}
            headers = {"Idempotency-Key": str(uuid.uuid4())}
            while not await self._send(session, url, body, headers):  # noqa: ASYNC110
                await asyncio.sleep(PAUSE_S)  # it backs off

    async def _send(
        self,
        session: aiohttp.ClientSession,
        url: str,
        body: dict[str, Any],
        headers: dict[str, str],
    ) -> bool:
        try:
            async with session.post(f"{url}/invoices", json=body, headers=headers) as response:
                answer = await response.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.errors[type(error).__name__] += 1
            return False
        self.statuses[response.status] += 1
        if response.status != 201:
            self.errors[answer["error"]] += 1
            return False
        assert body["label"] not in self.acknowledged
        self.acknowledged[body["label"]] = answer["id"]
        self.times.append(time.monotonic())
        return True

    def first_after(self, moment: float) -> float:
        """When the first write after `moment` was acknowledged, in seconds from then."""
        return min(at for at in self.times if at > moment) - moment

    def longest_gap(self) -> float:
        """The longest time in which nothing was acknowledged."""
        return max(later - at for at, later in itertools.pairwise(sorted(self.times)))

    def check(self, url: str) -> None:
        """Hold what the database at `url` has against what was acknowledged."""
        assert set(self.statuses) <= {201, 503}, self.statuses
        with psycopg.connect(url) as connection:
            rows = connection.execute("SELECT label, id FROM invoices").fetchall()
        stored: dict[str, int] = dict(rows)
        assert len(stored) == len(rows)  # none twice
        missing = {
            label: number
            for label, number in self.acknowledged.items()
            if stored.get(label) != number
        }
        assert not missing
