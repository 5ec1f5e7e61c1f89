"""A check of schemathesis: a request that is as the document says is refused by rules only."""

import re
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, GenerationMode, Response

NOT_UNDERSTOOD = {"invalid_request", "invalid_json", "unsupported_media_type", "body_too_large"}

# What is not in the document, as OpenAPI has no words for it.
KNOWN = re.compile(
    "Must not name a service twice"  # by its id, and as it is shown
    "|The id in the body must be the one in the path"
    "|Must be 0, or between"  # each number in a payload
    "|Must not be before .* older events are not kept"  # that moves on
    "|goes with order="  # of the two ways to page through events
    "|expires_at: Must not be past"
    "|scopes.*: Must be one of "  # those of the service
    "|Rowlock-Source and Rowlock-Epoch must be set together"
)


@schemathesis.check
def understood(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    mode = case.meta.generation.mode if case.meta else None
    if mode != GenerationMode.POSITIVE or not 400 <= response.status_code < 500:
        return
    error = response.json()
    assert error["error"] not in NOT_UNDERSTOOD or KNOWN.search(error.get("message", "")), error
