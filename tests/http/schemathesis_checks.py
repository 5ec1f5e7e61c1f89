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
    "|to: Must be after `from`"
    "|to_user_id: Must be another user than from_user_id"
    "|scopes.*: Must be one of "  # those of the service
    "|Must be a traceparent"  # not of zeros alone, which the pattern allows
    "|Must be the name of an event"  # and show, too: no single pattern says both
    "|Rowlock-Source and Rowlock-Epoch must be set together"
    "|Rowlock-Log-Mark needs Rowlock-Log"
    "|Rowlock-(Log-)?Mark must be two numbers"  # schemathesis makes some without the slash
)


@schemathesis.check
def understood(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    mode = case.meta.generation.mode if case.meta else None
    if mode != GenerationMode.POSITIVE or not 400 <= response.status_code < 500:
        return
    error = response.json()
    assert error["error"] not in NOT_UNDERSTOOD or KNOWN.search(error.get("message", "")), error
