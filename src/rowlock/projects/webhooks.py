"""How a webhook proves that it knows the project's secret: by sending it, or by signing with it.

Signing is the scheme of Standard Webhooks:
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping

from rowlock.http.access import bearer, is_secret
from rowlock.projects.rules import key_in

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
VALID_ID = re.compile(r"[!-~]{1,255}")
VALID_TIMESTAMP = re.compile(r"[0-9]{1,12}")  # seconds


def carries_secret(authorization: str, secret: str) -> bool:
    """Tell whether the header `authorization` is `secret`, bare or as `Bearer …`."""
    bare, borne = is_secret(authorization, secret), is_secret(bearer(authorization), secret)
    return bare or borne


def is_signed(
    headers: Mapping[str, str], body: bytes, secret: str, *, now_s: float, tolerance_s: int
) -> bool:
    """Tell whether `headers` have a signature of `body`, made within `tolerance_s` of `now_s`."""
    webhook_id, timestamp = headers.get(ID, ""), headers.get(TIMESTAMP, "")
    if not VALID_ID.fullmatch(webhook_id) or not VALID_TIMESTAMP.fullmatch(timestamp):
        return False
    given = headers.get(SIGNATURE, "").encode("utf-8", "surrogateescape").split()
    content = f"{webhook_id}.{timestamp}.".encode() + body
    expected = [_sign(key, content) for key in _keys(secret)]
    matches = [hmac.compare_digest(one, other) for one in given for other in expected]
    return any(matches) and abs(now_s - int(timestamp)) <= tolerance_s


def _sign(key: bytes, content: bytes) -> bytes:
    return b"v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256))


def _keys(secret: str) -> Iterator[bytes]:
    """Yield the secret as it is, and as the scheme's libraries read it: with or without prefix."""
    yield secret.encode()
    key = key_in(secret)
    if key is not None:
        yield key
