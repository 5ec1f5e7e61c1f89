"""What a service knows about a request under way: its id, its actor, its share of memory."""

from dataclasses import dataclass

from aiohttp import web

from rowlock.http.intake import Share
from rowlock.http.keyring import ApiKey
from rowlock.origin import Trace
from rowlock.settings.groups import HttpSettings

TOKEN, ANONYMOUS = "token", "anonymous"
SHARED = frozenset({TOKEN, ANONYMOUS})  # actors that are not a single caller


@dataclass(slots=True)
class Exchange:
    """A request and its answer. One object, as each key of aiohttp's requests costs time."""

    service: str  # that was asked
    request_id: str
    limits: HttpSettings
    actor: str = ANONYMOUS  # as rowlock.http.access names actors
    key: ApiKey | None = None  # that the request came with
    share: Share | None = None  # of the memory for bodies
    body: bytes | None = None  # once it was read
    trace: Trace | None = None  # that the client names


EXCHANGE = web.RequestKey("exchange", Exchange)
