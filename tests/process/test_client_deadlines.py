"""Deadlines of rowlock.client that take seconds."""

import asyncio
import math

import pytest

from rowlock.client import Commerce, Policy, Unavailable


async def test_deadline__of_more_than_5_s__is_not_rounded_up_to_a_whole_second() -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Commerce(f"http://127.0.0.1:{port}") as shop:
        began = loop.time()
        deadline_s = math.ceil(began) + 5.02 - began  # just after a whole second of the clock
        with pytest.raises(Unavailable, match="no answer in time"):
            await shop.orders.get(1, policy=Policy(deadline_s=deadline_s))
        late_s = loop.time() - began - deadline_s
        over.set()
    assert late_s < 0.95  # rounded up, it would be 0.98 at least
