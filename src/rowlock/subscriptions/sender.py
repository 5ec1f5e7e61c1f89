"""Posts events to receivers, which are not trusted: everything that they can do is bounded.

Each connection is checked at the address that is dialled, whatever the name resolved to before.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import aiohttp
from yarl import URL

from rowlock import __version__
from rowlock.origin import TRACEPARENT
from rowlock.settings.features import SubscriptionSettings
from rowlock.subscriptions.addresses import is_refused
from rowlock.subscriptions.resolving import Resolver, read_socket_address
from rowlock.subscriptions.rules import PROBLEM_LENGTH, Outcome, judge, sign

ANSWER_BYTES = 16_384  # read at most: then the connection can serve the next event
SKIM_S = 1.0
HEAD_BYTES = 8192  # of a line and of each header
HEADERS = 64  # of an answer, at most
NAMES_KEPT_S = 30
IDLE_S = 15.0


class AddressRefused(OSError):
    """The receiver is at an address to which nothing may be posted."""


class Sender:
    """Posts events."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: SubscriptionSettings) -> AsyncIterator["Sender"]:
        """Lend a sender with a session of its own."""

        def open_socket(info: Any) -> socket.socket:
            family, kind, proto, _name, address = info
            if not settings.webhooks_private and is_refused(read_socket_address(address)):
                raise AddressRefused("the address is not of the public internet")
            return socket.socket(family, kind, proto)

        connector = aiohttp.TCPConnector(
            resolver=Resolver(),
            ttl_dns_cache=NAMES_KEPT_S,
            limit=0,  # the dispatcher bounds what is under way
            keepalive_timeout=IDLE_S,
            socket_factory=open_socket,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=settings.dispatch_timeout_s, connect=settings.dispatch_connect_timeout_s
            ),
            headers={
                "Content-Type": "application/json",
                "User-Agent": f"Rowlock/{__version__}",
            },
            skip_auto_headers=("Accept-Encoding",),
            auto_decompress=False,
            trust_env=False,  # no proxy, and no password of a .netrc
            read_bufsize=ANSWER_BYTES,
            max_line_size=HEAD_BYTES,
            max_field_size=HEAD_BYTES,
            max_headers=HEADERS,
        )
        async with session:
            yield cls(session)

    async def post(
        self,
        url: URL,
        webhook_id: str,
        body: bytes,
        secrets: Sequence[str],
        traceparent: str | None,
    ) -> Outcome:
        """Post an event, signed with each of `secrets`; return what came of it. Never raises."""
        started = time.perf_counter()
        timestamp = int(time.time())
        signatures = " ".join(sign(secret, webhook_id, timestamp, body) for secret in secrets)
        headers = {
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signatures,
        }
        if traceparent is not None:
            headers[TRACEPARENT] = traceparent
        try:
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as response:
                outcome = judge(
                    response.status, response.headers.get("Retry-After"), datetime.now(UTC)
                )
                await _skim(response)
        except TimeoutError:
            outcome = Outcome(None, "timeout")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            outcome = Outcome(None, describe(error))
        return outcome._replace(duration_s=time.perf_counter() - started)


async def _skim(response: aiohttp.ClientResponse) -> None:
    """Read a short answer, so that its connection can be used again; close any other one's.

    What it says counts for nothing: its status has come.
    """
    if response.content.at_eof():
        return
    length = response.content_length
    left = ANSWER_BYTES
    if length is None or length <= ANSWER_BYTES:
        with suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(SKIM_S):
                while left > 0:
                    chunk = await response.content.read(left)
                    if not chunk:
                        return
                    left -= len(chunk)
    response.close()


# What a failure is called, by the first kind that it is.
KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (aiohttp.InvalidURL, "invalid_url"),
    (aiohttp.ClientConnectorDNSError, "name_not_found"),
    (aiohttp.ClientConnectorCertificateError, "bad_certificate"),
    (aiohttp.ClientSSLError, "bad_certificate"),
    (aiohttp.ClientConnectorError, "not_connected"),
    (aiohttp.ServerDisconnectedError, "disconnected"),
    (aiohttp.ClientPayloadError, "disconnected"),
    (aiohttp.ClientOSError, "disconnected"),
    (aiohttp.ClientResponseError, "malformed_answer"),
)


def describe(error: BaseException) -> str:
    """Return the kind of a failure, without what a URL or an answer says."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AddressRefused):
            return "address_refused"
        inner = cause.os_error if isinstance(cause, aiohttp.ClientConnectorError) else None
        cause = inner or cause.__cause__
    names = (name for kind, name in KINDS if isinstance(error, kind))
    return next(names, type(error).__name__[:PROBLEM_LENGTH])
