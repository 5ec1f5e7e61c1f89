"""Waiting for something to come true, without guessing how long it takes."""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any


async def until(condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """Return the first true value of `condition()`, which may be awaitable."""
    async with asyncio.timeout(timeout_s):
        while True:
            value = condition()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            await asyncio.sleep(0.01)


def until_true(condition: Callable[[], bool], timeout_s: float) -> None:
    """Return once `condition()` is true, outside of an event loop. Raises TimeoutError."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)
