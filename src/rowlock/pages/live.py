"""Live parts of pages, as server-sent events that carry HTML."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp_sse
from aiohttp import web

from rowlock.http.answers import EMPTY_HEAD
from rowlock.http.exchange import EXCHANGE
from rowlock.http.request_ids import REQUEST_ID
from rowlock.settings.features import EventSettings

# How long one answer goes on. The browser comes back by itself, if its session has not ended.
LONGEST_S = 600.0


class Message(NamedTuple):
    """What the script of the page puts on top of a live list, or another kind of news."""

    place: int  # the client says it when it comes back: Last-Event-ID, or `after` in the query
    data: str  # the rows, newest first
    kind: str | None = None  # "part": an element that replaces the one with its id


async def send_live(
    request: web.Request,
    messages: AsyncIterator[Message],
    draining: asyncio.Event,
    settings: EventSettings,
) -> web.StreamResponse:
    """Send messages until the client is gone, the service drains, or they end; for LONGEST_S.

    A client that does not read is disconnected, as from the stream of events.
    """
    response = aiohttp_sse.EventSourceResponse(
        send_timeout=settings.stream_stall_s, ping_interval=settings.stream_heartbeat_s
    )
    response.headers.update({**EMPTY_HEAD, REQUEST_ID: request[EXCHANGE].request_id})
    await response.prepare(request)
    if request.transport is not None:
        request.transport.set_write_buffer_limits(settings.stream_buffer_bytes)

    async def send_all() -> None:
        async for message in messages:
            await response.send(message.data, id=str(message.place), event=message.kind)

    endings = [
        asyncio.create_task(send_all()),
        asyncio.create_task(draining.wait()),
        asyncio.create_task(response.wait()),
    ]
    try:
        async with response:
            await asyncio.wait(endings, timeout=LONGEST_S, return_when=asyncio.FIRST_COMPLETED)
    except (ConnectionError, TimeoutError):
        pass  # the client is gone, or does not read
    finally:
        for ending in endings:
            ending.cancel()
        await asyncio.gather(*endings, return_exceptions=True)
    return response
