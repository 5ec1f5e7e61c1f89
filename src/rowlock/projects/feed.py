"""A project's feed: its events, fetched from the events service."""

from typing import Any, NamedTuple

import aiohttp
import orjson
import structlog
from yarl import URL

from rowlock.errors import EventsUnavailable, InvalidCursor
from rowlock.http.outbound import Outbound
from rowlock.http.request_ids import REQUEST_ID
from rowlock.settings.groups import AddressSettings, ProjectSettings

logger = structlog.get_logger(__name__)


class FeedPage(NamedTuple):
    """A page of a feed, newest first."""

    events: list[dict[str, Any]]
    next_cursor: str | None


class Feed:
    """The feeds of all projects, as the events service has them."""

    def __init__(
        self, outbound: Outbound, addresses: AddressSettings, settings: ProjectSettings
    ) -> None:
        self._outbound = outbound
        self._url = f"{addresses.events_address}/events"
        self._authorization = f"Bearer {addresses.events_token}"
        self._timeout = aiohttp.ClientTimeout(total=settings.events_timeout_s)

    async def fetch(
        self, project_id: int, *, request_id: str, limit: int, cursor: str | None
    ) -> FeedPage:
        """Return a page of the project's feed.

        Raises InvalidCursor for one that the events service did not give, and EventsUnavailable if
        the service can't be reached, takes too long, or does not answer as agreed.
        """
        query = {"subject": f"project:{project_id}", "order": "newest", "limit": str(limit)}
        if cursor is not None:
            query["cursor"] = cursor
        try:
            async with self._outbound.session.get(
                self._url,
                params=query,
                headers={"Authorization": self._authorization, REQUEST_ID: request_id},
                timeout=self._timeout,
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
                return FeedPage(
                    [_read(event) for event in page],
                    URL(following["url"]).query["cursor"] if following else None,
                )
        except (
            aiohttp.ClientError,
            OSError,
            TimeoutError,
            ValueError,
            KeyError,
            TypeError,
        ) as error:
            logger.warning("events_unavailable", error=repr(error))
            raise EventsUnavailable from error


def _read(event: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": event["id"],
        "name": event["name"],
        "payload": event["payload"],
        "createdAt": event["created_at"],
    }
