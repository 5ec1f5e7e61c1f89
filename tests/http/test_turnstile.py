"""Admission: by turns of the event loop, in order, and not after too long a wait."""

import asyncio

import pytest

from rowlock.errors import Overloaded
from rowlock.http.turnstile import Turnstile
from tests.support.contract import refusal
from tests.support.scraping import scrape
from tests.support.types import Serve

REFUSED = "rowlock_requests_refused_total"


async def enter(turnstile: Turnstile) -> None:
    """Pass it as requests do."""
    if not turnstile.lets_in():
        await turnstile.wait()


async def entered_per_turn(turnstile: Turnstile, callers: int) -> list[list[int]]:
    """Who was let in during each turn of the loop, once all were or were refused."""
    turns: list[list[int]] = []

    async def pass_through(number: int) -> None:
        await enter(turnstile)
        turns[-1].append(number)

    tasks = [asyncio.create_task(pass_through(number)) for number in range(callers)]
    while not all(task.done() for task in tasks):
        turns.append([])
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    return [turn for turn in turns if turn]


async def test_turnstile__few__at_once() -> None:
    assert await entered_per_turn(Turnstile(3, wait_s=60), 3) == [[0, 1, 2]]


async def test_turnstile__many__so_many_a_turn_in_the_order_of_arrival() -> None:
    turnstile = Turnstile(3, wait_s=60)
    for _ in range(2):  # and again, after all have gone
        assert await entered_per_turn(turnstile, 8) == [[0, 1, 2], [3, 4, 5], [6, 7]]


async def test_turnstile__more_than_a_turn_takes__the_rest_is_waiting() -> None:
    turnstile = Turnstile(3, wait_s=60)
    tasks = [asyncio.create_task(enter(turnstile)) for _ in range(5)]
    await asyncio.sleep(0)
    assert turnstile.waiting == 2
    await asyncio.gather(*tasks)
    assert turnstile.waiting == 0


async def test_turnstile__waited_too_long__overloaded() -> None:
    turnstile = Turnstile(1, wait_s=0)
    outcomes = await asyncio.gather(*(enter(turnstile) for _ in range(3)), return_exceptions=True)
    assert outcomes[0] is None
    assert [type(outcome) for outcome in outcomes[1:]] == [Overloaded, Overloaded]
    await enter(turnstile)


async def test_turnstile__caller_cancelled__takes_nobodys_place() -> None:
    turnstile = Turnstile(1, wait_s=60)
    await enter(turnstile)
    gone, other = (asyncio.create_task(enter(turnstile)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    async with asyncio.timeout(60):
        await other


@pytest.mark.parametrize("path", ["/user/1", "/products"])
async def test_overload__some_refused_at_once__operators_are_not(
    serve: Serve, ada: int, path: str
) -> None:
    commerce = await serve(turn_requests=1, turn_wait_s=0)
    before = await scrape(commerce.session, str(commerce.make_url("/metrics")))
    responses = await asyncio.gather(*(commerce.get(path) for _ in range(50)))
    refused = [response for response in responses if response.status != 200]
    assert 0 < len(refused) < 50
    after = await scrape(commerce.session, str(commerce.make_url("/metrics")))
    assert after.value(REFUSED) - before.value(REFUSED) == len(refused)
    for response in refused:
        assert await refusal(response) == (503, "overloaded")
    asked = await asyncio.gather(*(commerce.get("/healthz") for _ in range(50)))
    assert {response.status for response in asked} == {200}
