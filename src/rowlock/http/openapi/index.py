"""What a service answers at `/`: where everything is, as JSON or as a page."""

from collections.abc import Mapping
from typing import Any

from rowlock.http.openapi import curl, html
from rowlock.http.openapi.shapes import EXAMPLE_URL, JsonSchema, record, text

# What every service has, by its name in the answer: the path, and what one finds there.
PLACES = {
    "docs": ("/docs", "the API, to read"),
    "try": ("/docs/try", "the API, to try"),
    "openapi": ("/openapi.json", "the API, in OpenAPI 3.1"),
    "healthz": ("/healthz", "whether the process is alive"),
    "readyz": ("/readyz", "whether it can serve"),
}
LINKS: Mapping[str, JsonSchema] = {
    name: text(EXAMPLE_URL + path) for name, (path, _) in PLACES.items()
}
INDEX = record(
    "Index",
    optional=("currency",),
    service=text("commerce"),
    version=text("0.3.0"),
    currency=text("EUR", pattern="^[A-Z]{3}$"),
    links=record("Links", optional=(), **LINKS),
    example=text(f"{EXAMPLE_URL}/user/1"),
)


def as_json(
    service: str, version: str, currency: str | None, example: str, base: str
) -> Mapping[str, Any]:
    """Return what is here, with the URL of each place and of one `example`, a path.

    `currency` is that of the amounts, or None for a service that has none.
    """
    return {
        "service": service,
        "version": version,
        **({"currency": currency} if currency else {}),
        "links": {name: base + path for name, (path, _) in PLACES.items()},
        "example": base + example,
    }


def as_page(
    service: str, version: str, currency: str | None, example: str, *, is_open: bool
) -> str:
    """Return the same as a page."""
    # Relative links: they work behind a proxy that puts a prefix before each path.
    places = "".join(
        f'<li><a href="{path.removeprefix("/")}"><code>{path}</code></a>: {use}</li>'
        for path, use in PLACES.values()
    )
    content = (
        "<p>Rowlock is a back office on PostgreSQL. "
        f"This is its {service} service."
        + (f" Amounts are in {currency}." if currency else "")
        + f"</p><ul>{places}</ul><p>Try it:</p>"
        + html.command(curl.line(example, None if is_open else curl.BEARER))
    )
    return html.frame(f"Rowlock {service}", version, content)
