"""The console's overview over several workers: any of them has sampled what all have counted."""

import asyncio
import json
from typing import Any

import aiohttp

from tests.support.polling import until
from tests.support.processes import Service, free_port

REQUESTS = 40


async def test_overview__two_workers__either_has_sampled_both(
    database_url: str, events_database_url: str
) -> None:
    port = free_port()
    console = f"http://localhost:{port}"
    connector = aiohttp.TCPConnector(force_close=True)  # so that either worker may answer
    async with (
        Service(
            "commerce",
            "console",
            database_url=database_url,
            events_database_url=events_database_url,
            console_port=port,
            console_sample_s=0.5,
            metrics_sample_s=0.05,
            workers=2,
        ) as service,
        aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        headers = await sign_in(session, console)

        async def both_have_sampled() -> bool:
            found = [await points(session, console, headers) for _ in range(6)]
            return all(len(each["at"]) > 1 for each in found)

        async def all_are_seen() -> bool:
            # One worker alone has counted about half. Times are rounded to a tenth of a second.
            found = [await points(session, console, headers) for _ in range(6)]
            return all(count_requests(each) > REQUESTS * 0.7 for each in found)

        await until(both_have_sampled)
        sent = [session.get(f"{service.url}/orders/1") for _ in range(REQUESTS)]
        for response in await asyncio.gather(*sent):
            assert response.status == 404

        await until(all_are_seen)


async def sign_in(session: aiohttp.ClientSession, console: str) -> dict[str, str]:
    """Return the headers of one who is signed in."""
    form = {"name": "ada", "token": "development-console-token"}
    own = {"Sec-Fetch-Site": "same-origin"}
    async with session.post(
        f"{console}/sign-in", data=form, headers=own, allow_redirects=False
    ) as response:
        assert response.status == 303
        return {"Cookie": response.headers["Set-Cookie"].partition(";")[0]}


async def points(
    session: aiohttp.ClientSession, console: str, headers: dict[str, str]
) -> dict[str, Any]:
    """Return all points that a worker has."""
    async with session.get(f"{console}/overview/live?after=0", headers=headers) as response:
        async for line in response.content:
            if line.startswith(b'data: {"at"'):
                found: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
                return found
    raise AssertionError


def count_requests(found: dict[str, Any]) -> float:
    """Return how many requests there were between the first point and the last."""
    at, rates = found["at"], found["requests"]["requests"]
    pairs = zip(at, at[1:], rates[1:], strict=False)
    return float(sum(rate * (now - before) for before, now, rate in pairs))
