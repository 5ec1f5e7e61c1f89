"""A project's feed: its events, fetched from the events service."""

from typing import Any, NamedTuple

import aiohttp
import orjson
import structlog
from yarl import URL

from rowlock.errors import EventsUnavailable, InvalidCursor
from rowlock.http.outbound import Outbound
from rowlock.http.request_ids import REQUEST_ID
from rowlock.origin import TRACEPARENT, Origin
from rowlock.settings.features import ProjectSettings
from rowlock.settings.groups import AddressSettings

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
        self, project_id: int, *, origin: Origin, limit: int, cursor: str | None
    ) -> FeedPage:
        """Return a page of the project's feed, for the request of that origin.

        Raises InvalidCursor for one that the events service did not give, and EventsUnavailable if
        the service can't be reached, takes too long, or does not answer as agreed.
        """
        query = {"subject": f"project:{project_id}", "order": "newest", "limit": str(limit)}
        if cursor is not None:
            query["cursor"] = cursor
        headers = {"Authorization": self._authorization}
        if origin.request_id is not None:
            headers[REQUEST_ID] = origin.request_id
        if origin.traceparent is not None:
            headers[TRACEPARENT] = origin.traceparent
        try:
            async with self._outbound.session.get(
                self._url,
                params=query,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
            ) as response:
                # 410: a place that the log does not have.
                if response.status in {400, 410} and cursor is not None:
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
