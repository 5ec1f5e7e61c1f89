"""Where a change comes from: the request that caused it, and who made that."""

from contextvars import ContextVar
from typing import NamedTuple

TRACEPARENT = "traceparent"  # the header by which a trace is carried on
ACTOR_LENGTH = 300  # of an actor; a subject of a tenant has 255 at most


class Origin(NamedTuple):
    """What each event, and with the actor each ledger entry, says about its cause."""

    request_id: str | None  # None: no request caused it
    actor: str  # token, key:NAME, auth0|SUB, project:ID, anonymous, cli or system
    traceparent: str | None = None  # what its events carry on of the client's trace, if it has one


class Trace(NamedTuple):
    """The place of a request in a trace, as the client names it (W3C Trace Context)."""

    trace_id: str  # 32 hexadecimal digits
    parent_id: str  # the client's span, that made the request: 16 hexadecimal digits
    span_id: str  # our own, of the request: 16 hexadecimal digits
    flags: str  # two hexadecimal digits

    @property
    def traceparent(self) -> str:
        """What is caused by the request carries on: its parent is our span."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def name_trace(traceparent: str | None) -> dict[str, str]:
    """Return the field by which a log line about an event or an order names its trace."""
    return {} if traceparent is None else {"trace_id": traceparent.split("-")[1]}


# The service, the id and the trace of the request that the running task works for: log lines name
# them. Each request has a task of its own, and what that starts inherits them.
REQUEST: ContextVar[tuple[str, str, Trace | None]] = ContextVar("request")

# Whether the request wants to see all that was acknowledged before it: lists then come from the
# primary.
FRESH: ContextVar[bool] = ContextVar("fresh", default=False)

SYSTEM = Origin(None, "system")  # background work
CLI = Origin(None, "cli")  # the command line
