"""The live stream of events: resumed where it broke off, for as long as its reader goes on."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import aiohttp
import orjson

from rowlock.client.calls import Caller, Options, Request
from rowlock.client.failures import Unavailable
from rowlock.client.log_records import Event, Reset
from rowlock.client.shapes import reader_of

EVENT_STREAM = "text/event-stream"
RESET = "reset"
SILENCE_S = 45.0  # three of the service's heartbeats, as it has them unless set otherwise
RETRY_S = 1.0  # before a stream is opened again, unless the service has told another pause


@dataclass(slots=True)
class _Message:
    """A server-sent message, as its lines come."""

    id: str | None = None
    event: str = ""
    data: list[str] = field(default_factory=list)
    retry_ms: str | None = None

    def take(self, line: str) -> None:
        """Take a line that is not empty."""
        name, _, text = line.partition(":")
        text = text.removeprefix(" ")
        if name == "data":
            self.data.append(text)
        elif name == "id":
            self.id = text
        elif name == "event":
            self.event = text
        elif name == "retry":
            self.retry_ms = text


class Stream:
    """Events as they are stored, in order and each once: `async for message in stream`.

    `position` is the id after which it goes on: keep it, and start there another time. A Reset
    says that the log lost events which were seen, and after which id the stream goes on.

    It is opened within the policy's deadline, or Unavailable is raised. Once it was open, it is
    opened again for as long as it is read. Raises CallFailed.
    """

    def __init__(
        self, caller: Caller, query: Mapping[str, str], after: int | None, options: Options
    ) -> None:
        self.position = after
        self._caller = caller
        self._query = query
        self._options = options
        self._policy = options.get("policy") or caller.policy
        self._retry_s = RETRY_S

    async def __aiter__(self) -> AsyncIterator[Event | Reset]:
        if self.position is None:
            # Asked for, as a connection may break before the stream has told it.
            self.position = await self._find_end()
        was_open = False
        while True:
            try:
                async with self._caller.opened(
                    self._prepare(), self._policy, SILENCE_S
                ) as response:
                    was_open = True
                    async for message in self._read(response):
                        yield message
            except Unavailable:
                if not was_open:
                    raise
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass  # it broke off
            await asyncio.sleep(self._retry_s)

    async def _find_end(self) -> int:
        """Return the id of the newest event, 0 if there is none. Raises CallFailed."""
        options: Options = {**self._options, "fresh": True}
        query = {"order": "newest", "limit": "1"}
        request = self._caller.prepare("GET", "/events", options, query=query)
        answer = await self._caller.perform(request, self._policy)
        try:
            return max((int(event["id"]) for event in answer.body), default=0)
        except (KeyError, TypeError, ValueError) as error:
            problem = f"the answer is not one of Rowlock's: {error!r}"
            raise Unavailable(request.sent, problem=problem) from error

    def _prepare(self) -> Request:
        headers = {"Accept": EVENT_STREAM, "Last-Event-ID": str(self.position)}
        return self._caller.prepare(
            "GET", "/events/stream", self._options, query=self._query, headers=headers
        )

    async def _read(self, response: aiohttp.ClientResponse) -> AsyncIterator[Event | Reset]:
        async for message in _messages(response):
            if message.retry_ms is not None and message.retry_ms.isdigit():
                self._retry_s = int(message.retry_ms) / 1000
            if message.id is not None and message.id.isdigit():
                self.position = int(message.id)
            if message.data:
                yield _told(message)


def _told(message: _Message) -> Event | Reset:
    told = orjson.loads("\n".join(message.data))
    # An event may be named so, too; but only an event has an event_id.
    is_reset = message.event == RESET and "event_id" not in told
    found: Event | Reset = reader_of(Reset if is_reset else Event)(told)
    return found


async def _messages(response: aiohttp.ClientResponse) -> AsyncIterator[_Message]:
    """Yield the messages of a stream, also those that have an id alone."""
    rest = b""
    message = _Message()
    async for piece in response.content.iter_any():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            text = line.rstrip(b"\r").decode()
            if text:
                message.take(text)
            else:
                yield message
                message = _Message()
