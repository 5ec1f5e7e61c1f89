"""Answers that are sent a page at a time: bounded memory, however long they are."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import orjson
import structlog
from aiohttp import web
from aiohttp.hdrs import METH_HEAD

from rowlock.errors import RowlockError
from rowlock.http.answers import CONTENT_TYPE, head, reply
from rowlock.http.exchange import EXCHANGE
from rowlock.http.request_ids import REQUEST_ID

logger = structlog.get_logger(__name__)


async def stream_array(
    request: web.Request, pages: AsyncIterator[Sequence[Any]]
) -> web.StreamResponse:
    """Answer with the items of all pages. A single page is an answer like any other.

    If a later page can't be read, the connection is broken off in the middle of the array. Raises
    what reading the first two pages raises.
    """
    first = await anext(pages, None)
    second = await anext(pages, None)
    if first is None or second is None:
        return reply(first or [])

    async def chunks() -> AsyncIterator[bytes]:
        yield _items(b"[", first)
        yield _items(b",", second)
        async for page in pages:
            yield _items(b",", page)
        yield b"]"

    return await stream(request, chunks(), {"Content-Type": CONTENT_TYPE})


async def stream(
    request: web.Request, chunks: AsyncIterator[bytes], headers: Mapping[str, str]
) -> web.StreamResponse:
    """Answer with all chunks, each once the client has read most of those before it.

    If a later chunk can't be made, the connection is broken off in the middle. Raises what making
    the first one raises.
    """
    first = await anext(chunks, b"")
    response = web.StreamResponse(
        headers=head({**headers, REQUEST_ID: request[EXCHANGE].request_id})
    )
    await response.prepare(request)
    if request.method == METH_HEAD:
        return response
    try:
        await response.write(first)
        async for chunk in chunks:
            await response.write(chunk)
    except ConnectionError:
        pass  # the client is gone
    except Exception as error:  # too late for a status
        is_fault = not isinstance(error, RowlockError)
        logger.warning("list_broken_off", error=repr(error), exc_info=is_fault)
        if request.transport is not None:
            request.transport.abort()
    return response


def _items(before: bytes, page: Sequence[Any]) -> bytes:
    return before + orjson.dumps(page, option=orjson.OPT_UTC_Z)[1:-1]
