"""Traces: a client names its own by `traceparent`, and what the request causes carries it on.

The header's form is that of W3C Trace Context (https://www.w3.org/TR/trace-context/). Rowlock
begins no traces, and records no spans. A header that names no trace is ignored.
"""

import re

from aiohttp import web
from multidict import istr

from rowlock import origin
from rowlock.http.request_ids import new_request_id
from rowlock.origin import Trace

# Of multidict's own kind, which knows its lower case.
TRACEPARENT = istr(origin.TRACEPARENT)
# Of any version but ff, with a trace and a parent that are not all zeros.
FORM = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace_id>(?!0{32})[0-9a-f]{32})"
    r"-(?P<parent_id>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
VERSION = "00"  # that we know, and write
SAMPLED, RANDOM = 1, 2  # flags: the client records the trace; its id is random


def trace_of(request: web.BaseRequest) -> Trace | None:
    """Return the trace that the client names in `traceparent`; None if it names none.

    Of a later version, only what the first one has is read. Flags that have no meaning yet are not
    carried on.
    """
    given = request.headers.getall(TRACEPARENT)
    found = FORM.fullmatch(given[0]) if len(given) == 1 else None
    if found is None:
        return None
    is_known = found["version"] == VERSION
    if is_known and found["more"] is not None:
        return None
    flags = int(found["flags"], 16) & (SAMPLED | RANDOM if is_known else SAMPLED)
    return Trace(found["trace_id"], found["parent_id"], new_request_id(), f"{flags:02x}")


def is_traceparent(text: str) -> bool:
    """Tell whether `text` names a trace in the version that we write."""
    found = FORM.fullmatch(text)
    return found is not None and found["version"] == VERSION and found["more"] is None
