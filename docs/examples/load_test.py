"""Load a Rowlock on this machine, and print how long its answers take: pip install rowlock.

    python docs/examples/load_test.py http://localhost:4000 --rate 200 --seconds 10

It is open: requests begin at their times, whether those before them are answered or not, as those
of many users do. A request's latency counts from when it was due. So a service that falls behind
looks as slow as it is. The requests read a user's balance; nothing is changed, nothing sent again.
"""

import argparse
import asyncio
import os
import statistics
from dataclasses import dataclass, field

from yarl import URL

from rowlock.client import CallFailed, Commerce, Policy

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
ONCE = Policy(attempts=1, deadline_s=10.0, attempt_timeout_s=10.0)
PERCENTILES = (50, 90, 99)


@dataclass
class Measured:
    """What came of the requests."""

    latencies_ms: list[float] = field(default_factory=list)  # of those that were answered well
    failures: int = 0

    def __str__(self) -> str:
        answered = len(self.latencies_ms)
        lines = [f"{answered} answered, {self.failures} failed"]
        if answered > 1:
            cuts = statistics.quantiles(self.latencies_ms, n=100, method="inclusive")
            lines += [f"p{number} {cuts[number - 1]:8.2f} ms" for number in PERCENTILES]
            lines.append(f"max {max(self.latencies_ms):8.2f} ms")
        return "\n".join(lines)


async def load(commerce: Commerce, *, rate: float, seconds: float, user_id: int) -> Measured:
    """Send `rate` requests a second for some seconds; return what came of them."""
    loop = asyncio.get_running_loop()
    measured = Measured()

    async def request(due: float) -> None:
        try:
            await commerce.users.get(user_id)
        except CallFailed:
            measured.failures += 1
        else:
            measured.latencies_ms.append((loop.time() - due) * 1000)

    began = loop.time()
    async with asyncio.TaskGroup() as group:
        for number in range(round(rate * seconds)):
            due = began + number / rate
            await asyncio.sleep(due - loop.time())
            group.create_task(request(due))
    return measured


async def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Measure the latencies of a Rowlock.")
    parser.add_argument("url")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--user-id", type=int, default=1)
    arguments = parser.parse_args()
    if URL(arguments.url).host not in LOOPBACK:
        parser.error("Load only a service on this machine: others have other users.")
    token = os.environ.get("ROWLOCK_COMMERCE_TOKEN")
    async with Commerce(arguments.url, token=token, policy=ONCE) as commerce:
        measured = await load(
            commerce,
            rate=arguments.rate,
            seconds=arguments.seconds,
            user_id=arguments.user_id,
        )
    print(measured)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
