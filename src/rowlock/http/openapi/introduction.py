"""What the OpenAPI document says before its routes."""

from decimal import Decimal

from rowlock.http.service import Service
from rowlock.settings import Settings

ALWAYS = """
Bodies are JSON. Unknown fields and parameters, wrong types and numbers out of range are refused.
GET routes answer HEAD, too, except for streams. A method that a path does not take is a 405 with
`Allow`; a malformed method is a 400.

Lists are arrays. The next page is in the `Link` header. URLs in headers are absolute.

Errors are told apart by `error`, a code that does not change. With
`Accept: application/problem+json`, they come as problem details (RFC 9457) with the same code.
"""
MONEY = """
All amounts are in {currency}. They are whole numbers of its minor unit: 7599 is {major} {currency}.
Routes below `/api/` alone show major units.
"""
KEYS = """
If the connection breaks or a 503 comes, send the POST, PUT, PATCH or DELETE again with the same
`Idempotency-Key`: it takes effect once. How its JSON is written, such as the order of names, does
not matter.
"""


def introduce(service: Service, settings: Settings) -> str:
    """Return the introduction to the API of `service`, in Markdown."""
    parts = [ALWAYS]
    if service.has_money:
        money = settings.money
        major = Decimal(7599).scaleb(-money.decimals)
        parts.append(MONEY.format(currency=money.currency, major=major))
    parts.append(KEYS)
    return "".join(parts).strip()
