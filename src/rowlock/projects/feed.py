"""A project's feed: its events, fetched from the events service."""

from typing import Any, NamedTuple

import aiohttp
import orjson
import structlog
from yarl import URL

from rowlock.exceptions import EventsUnavailable, InvalidCursor
from rowlock.settings import Settings
from rowlock.web.boundary import REQUEST_ID

logger = structlog.get_logger("rowlock.projects")


class Feed(NamedTuple):
    """A page of a feed, newest first."""

    events: list[dict[str, Any]]
    next_cursor: str | None


async def fetch(
    session: aiohttp.ClientSession,
    settings: Settings,
    project_id: int,
    *,
    request_id: str,
    limit: int,
    cursor: str | None,
) -> Feed:
    """Return a page of the project's feed.

    Raises InvalidCursor for one that the events service did not give, and EventsUnavailable if
    the service can't be reached, takes too long, or does not answer as agreed.
    """
    query = {"subject": f"project:{project_id}", "order": "newest", "limit": str(limit)}
    if cursor is not None:
        query["cursor"] = cursor
    try:
        async with session.get(
            f"{settings.events_address}/events",
            params=query,
            headers={
                "Authorization": f"Bearer {settings.events_token}",
                REQUEST_ID: request_id,
            },
            timeout=aiohttp.ClientTimeout(total=settings.events_timeout_s),
            allow_redirects=False,
        ) as response:
            if response.status == 400 and cursor is not None:  # noqa: PLR2004
                raise InvalidCursor
            if response.status != 200:  # noqa: PLR2004
                raise ValueError(f"status {response.status}")
            page = orjson.loads(await response.read())
            if not isinstance(page, list):
                raise ValueError("not an array")
            following = response.links.get("next")
            return Feed(
                [_read(event) for event in page],
                URL(following["url"]).query["cursor"] if following else None,
            )
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
        logger.warning("events_unavailable", error=repr(error))
        raise EventsUnavailable from error


def _read(event: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": event["id"],
        "name": event["name"],
        "payload": event["payload"],
        "createdAt": event["created_at"],
    }
