"""Where a change comes from: the request that caused it, and who made that."""

from contextvars import ContextVar
from typing import NamedTuple

ACTOR_LENGTH = 300  # of an actor; a subject of a tenant has 255 at most


class Origin(NamedTuple):
    """What each event, and with the actor each ledger entry, says about its cause."""

    request_id: str | None  # None: no request caused it
    actor: str  # token, key:NAME, auth0|SUB, project:ID, anonymous, cli or system


# The service and the id of the request that the running task works for: log lines name them.
# Each request has a task of its own, and what that starts inherits them.
REQUEST: ContextVar[tuple[str, str]] = ContextVar("request")

SYSTEM = Origin(None, "system")  # background work
CLI = Origin(None, "cli")  # the command line
