"""For receivers of webhooks: whether Rowlock has sent what came, by the Standard Webhooks scheme.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

SECRET_PREFIX = "whsec_"  # noqa: S105
TOLERANCE_S = 300.0
TEST_PREFIX = "test_"
TIMESTAMP = re.compile(r"[0-9]{1,12}")  # seconds


class WebhookRefused(ValueError):
    """The webhook was not sent by Rowlock, or is too old: answer 401 and do nothing."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook that was verified."""

    id: str  # the event's in the log; one that comes again has the same
    type: str  # the event's name, such as invoice.paid
    timestamp: datetime  # when it happened
    data: Mapping[str, Any]  # the event's payload

    @property
    def is_test(self) -> bool:
        """Whether it is a test that a client has asked for."""
        return self.id.startswith(TEST_PREFIX)


def verify(
    secrets: str | Iterable[str],
    headers: Mapping[str, str],
    body: bytes,
    *,
    tolerance_s: float = TOLERANCE_S,
    now_s: float | None = None,
) -> Webhook:
    """Return the webhook in a request's `body`, as its bytes came. Raises WebhookRefused.

    During a rotation, give both `secrets`. Names of `headers` may be in any case. The webhook may
    be `tolerance_s` older or newer than `now_s` (seconds since 1970; None: this machine's clock).
    """
    given = {name.lower(): text for name, text in headers.items()}
    webhook_id, timestamp, signatures = (
        given.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")
    )
    if not (webhook_id and timestamp and signatures):
        raise WebhookRefused("webhook-id, webhook-timestamp and webhook-signature are needed.")
    if not TIMESTAMP.fullmatch(timestamp):
        raise WebhookRefused("webhook-timestamp must be whole seconds.")
    now_s = time.time() if now_s is None else now_s
    content = f"{webhook_id}.{timestamp}.".encode("utf-8", "surrogateescape") + body
    expected = [_sign(secret, content) for secret in _each(secrets)]
    shown = [one.encode("utf-8", "surrogateescape") for one in signatures.split()]
    # Every pair is compared, in constant time: how long it takes tells nothing.
    matches = [hmac.compare_digest(one, other) for one in shown for other in expected]
    if not any(matches):
        raise WebhookRefused("No signature is by one of the secrets.")
    if abs(now_s - int(timestamp)) > tolerance_s:
        raise WebhookRefused(f"The webhook is more than {tolerance_s:g} s old or ahead.")
    try:
        message = orjson.loads(body)
        at = datetime.fromisoformat(message["timestamp"])
        return Webhook(webhook_id, message["type"], at, message["data"])
    except (ValueError, KeyError, TypeError) as error:
        raise WebhookRefused(f"The body is not one of Rowlock's: {error!r}.") from error


def _each(secrets: str | Iterable[str]) -> list[str]:
    found = [secrets] if isinstance(secrets, str) else list(secrets)
    if not found or not all(found):
        raise ValueError("A secret is needed, and none may be empty.")
    return found


def _sign(secret: str, content: bytes) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"A secret must be {SECRET_PREFIX} and base64.") from None
    if not key:  # anyone can sign with that
        raise ValueError(f"A secret must have more than {SECRET_PREFIX}.")
    return b"v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256))
