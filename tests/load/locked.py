"""What a row held by hand costs the others: `python tests/load/locked.py [--seconds N]`.

Clients pay invoices of 50 users, and some more pay those of one user alone. In turn, there is no
other session for a round; or one has a transaction open that holds no row; or one holds that user's
row, as a person at psql would. Printed is the rate of payments of all the others. The second tells
what any old transaction costs: PostgreSQL keeps each former balance until it has ended. It needs a
machine with nothing else to do.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import psycopg
from harness import free_port, postgres, serving

ROWLOCK = Path(sys.executable).parent / "rowlock"
USERS = 50
INVOICES = 400_000
ARRANGE = f"""
    INSERT INTO users (username) SELECT 'user-' || n FROM generate_series(1, {USERS}) AS n;
    INSERT INTO invoices (user_id, amount, label)
        SELECT n % {USERS} + 1, 100, 'Work' FROM generate_series(1, {INVOICES}) AS n;
    ANALYZE"""
HELD = 1
OTHER_SESSION = {
    "row free": "",
    "transaction open": "SELECT pg_current_xact_id()",
    "row held": f"SELECT 1 FROM users WHERE id = {HELD} FOR UPDATE",
}
EXPECTED = 0.8


class Clients:
    """Clients that pay invoices, each one once, and count what is paid."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session
        # Invoice n is of user n % 50 + 1.
        self._others = (n for n in range(1, INVOICES + 1) if n % USERS + 1 != HELD)
        self._held = (n for n in range(1, INVOICES + 1) if n % USERS + 1 == HELD)
        self.paid = 0

    async def pay_others(self) -> None:
        """Pay invoices of all but the one user, for ever."""
        while True:
            status = await self._pay(self._others)
            self.paid += status == 200

    async def pay_held(self) -> None:
        """Pay invoices of the one user, for ever."""
        while True:
            await self._pay(self._held)

    async def _pay(self, invoice_ids: Iterator[int]) -> int:
        async with self._session.post(f"{self._url}/invoices/{next(invoice_ids)}/pay") as response:
            await response.read()
            return response.status


async def measure(
    url: str, database: str, connections: int, seconds: float, rounds: int
) -> dict[str, float]:
    """Return the payments per second of the others, by what the other session does."""
    rates: dict[str, list[float]] = {doing: [] for doing in OTHER_SESSION}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        clients = Clients(url, session)
        tasks = [asyncio.create_task(clients.pay_others()) for _ in range(connections)]
        tasks += [asyncio.create_task(clients.pay_held()) for _ in range(max(1, connections // 8))]
        await asyncio.sleep(min(seconds, 2))
        for doing in list(OTHER_SESSION) * rounds:
            with psycopg.connect(database) as other:
                other.execute(OTHER_SESSION[doing].encode())
                before = clients.paid
                await asyncio.sleep(seconds)
                rates[doing].append((clients.paid - before) / seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return {doing: statistics.median(measured) for doing, measured in rates.items()}


def main() -> None:
    """Measure and print; exit with 1 if the others keep less than 80 % of their rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="of a round")
    parser.add_argument("--rounds", type=int, default=3, help="of each kind")
    parser.add_argument("--connections", type=int, default=64)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = stack.enter_context(postgres(folder / "data"))
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute(ARRANGE)
        port = free_port()
        environment = {
            "ROWLOCK_DATABASE_URL": database.url,
            "ROWLOCK_COMMERCE_PORT": str(port),
            "ROWLOCK_LOG_REQUESTS": "0",
        }
        command = (ROWLOCK, "serve", "commerce")
        stack.enter_context(
            serving("rowlock", command, port=port, environment=environment, log=folder / "log")
        )
        rates = asyncio.run(
            measure(
                f"http://127.0.0.1:{port}",
                database.url,
                arguments.connections,
                arguments.seconds,
                arguments.rounds,
            )
        )
    free = rates["row free"]
    for doing, rate in rates.items():
        print(f"payments of the others, {doing}: {rate:,.0f}/s, {rate / free:.0%}")
    sys.exit(rates["row held"] / free < EXPECTED)


if __name__ == "__main__":
    main()
