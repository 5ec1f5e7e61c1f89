"""NATS JetStream, as the sink sees it: connections, the stream, and the place of its last message.

This needs the extra `nats`, which is imported only where ROWLOCK_NATS_URL is set.
"""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

import structlog

from rowlock.errors import NatsUnavailable, StartRefused, StreamMisfits
from rowlock.settings.features import NatsSettings

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js.api import StreamInfo

STREAM = "ROWLOCK"
PREFIX = "rowlock"  # of subjects
POSITION = "Rowlock-Position"  # the header with the id of an event in the log
LOG = "Rowlock-Log"  # the header with what the log is called
CLOSE_S = 1.0  # a connection that can't be closed in this time is left
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")

logger = structlog.get_logger(__name__)


class Place(NamedTuple):
    """Where a stream ends."""

    last_seq: int  # of its last message; 0: there was never one
    position: int | None  # in the log, of the event in that message; None: it is gone
    log: str | None = None  # what that event's log is called


def check_installed() -> None:
    """Raise StartRefused unless the extra is installed."""
    try:
        import nats  # noqa: F401, PLC0415
    except ImportError:
        raise StartRefused(
            "ROWLOCK_NATS_URL needs the extra: pip install 'rowlock[nats]'."
        ) from None


def subject_of(name: str) -> str:
    """Return the subject of events of this name.

    Tokens of subjects are not empty, and have neither blanks nor wildcards: what is not a letter of
    ASCII, a digit, - or _ is percent-encoded, and so is a dot that parts nothing.
    """
    tokens = name.split(".")
    if "" in tokens:
        tokens = [name]
    return ".".join((PREFIX, *map(_encode, tokens)))


def _encode(token: str) -> str:
    if PLAIN.issuperset(token):
        return token
    return "".join(
        character if character in PLAIN else "".join(f"%{byte:02X}" for byte in character.encode())
        for character in token
    )


@asynccontextmanager
async def connected(settings: NatsSettings) -> AsyncIterator["Client"]:
    """Lend a connection to one of the servers, which is not renewed when it is lost.

    Raises NatsUnavailable if none of them can be reached, also for what is raised inside by a
    connection that is lost.
    """
    import nats  # noqa: PLC0415
    import nats.errors  # noqa: PLC0415

    problems = (nats.errors.Error, OSError, TimeoutError)
    client = None
    reason: Exception | None = None
    assert settings.nats_url is not None
    urls = [url.strip() for url in settings.nats_url.split(",")]
    for url in random.sample(urls, len(urls)):
        try:
            async with asyncio.timeout(settings.nats_timeout_s):
                client = await nats.connect(
                    url,
                    name="rowlock-events",
                    allow_reconnect=False,
                    max_reconnect_attempts=1,  # also of the first connection, and 0 means no end
                    reconnect_time_wait=0,
                    connect_timeout=max(1, round(settings.nats_timeout_s)),
                    user_credentials=settings.nats_credentials,
                    tls=_tls(settings),
                    error_cb=_ignore,  # it comes as an exception, too
                    skip_subject_validation=True,
                )
            break
        except problems as error:
            reason = error
    if client is None:
        raise NatsUnavailable(f"NATS can't be reached: {_describe(reason)}.") from reason
    try:
        yield client
    except problems as error:
        raise NatsUnavailable(f"NATS fails: {_describe(error)}.") from error
    finally:
        with suppress(*problems):
            async with asyncio.timeout(CLOSE_S):
                await client.close()


async def open_stream(client: "Client", settings: NatsSettings) -> "StreamInfo":
    """Return what the stream is, made if it is missing. Never changes one that exists.

    Raises StreamMisfits if an existing one does not take the subjects, and errors of NATS.
    """
    from nats.js.api import StorageType, StreamConfig  # noqa: PLC0415

    subjects = f"{PREFIX}.>"
    info = await find_stream(client, settings.nats_timeout_s)
    if info is None:
        info = await client.jetstream(timeout=settings.nats_timeout_s).add_stream(
            StreamConfig(
                name=STREAM,
                description="The log of events of Rowlock, in its order.",
                subjects=[subjects],
                storage=StorageType.FILE,
                num_replicas=settings.nats_replicas,
                allow_direct=True,
            )
        )
        logger.info("nats_stream_made", stream=STREAM, replicas=settings.nats_replicas)
    if not {subjects, ">"}.intersection(info.config.subjects or ()):
        raise StreamMisfits(f"The stream {STREAM} of NATS does not take {subjects}.")
    return info


async def find_stream(client: "Client", timeout_s: float) -> "StreamInfo | None":
    """Return what the stream is; None if it is missing. Raises errors of NATS."""
    from nats.js.errors import NotFoundError  # noqa: PLC0415

    try:
        return await client.jetstream(timeout=timeout_s).stream_info(STREAM)
    except NotFoundError:
        return None


async def find_place(client: "Client", info: "StreamInfo", timeout_s: float) -> Place:
    """Return where the stream ends. Raises StreamMisfits, and errors of NATS."""
    from nats.js.errors import NotFoundError  # noqa: PLC0415

    last_seq = info.state.last_seq
    if not last_seq:  # it is new: all events go there
        return Place(0, 0)
    if not info.state.messages:
        return Place(last_seq, None)
    try:
        message = await client.jetstream(timeout=timeout_s).get_msg(STREAM, seq=last_seq)
    except NotFoundError:  # deleted, or over the stream's limits
        return Place(last_seq, None)
    headers = message.headers or {}
    position = headers.get(POSITION, "")
    if not position.isascii() or not position.isdecimal():
        raise StreamMisfits(f"The last message of the stream {STREAM} of NATS is not Rowlock's.")
    return Place(last_seq, int(position), headers.get(LOG))


def _tls(settings: NatsSettings) -> ssl.SSLContext | None:
    """Return how TLS is done; None: as the URL says, with the system's authorities."""
    if settings.nats_ca is None and settings.nats_cert is None:
        return None
    context = ssl.create_default_context(cafile=settings.nats_ca)
    if settings.nats_cert is not None:
        context.load_cert_chain(settings.nats_cert, settings.nats_key)
    return context


def _describe(error: Exception | None) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


async def _ignore(_: Exception) -> None: ...
