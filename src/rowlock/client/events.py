"""The log of events, and the ways out of it: lists, the stream, consumers and subscriptions."""

# The bodies are what @call and @pages make of the signatures.
# mypy: disable-error-code="empty-body"

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Unpack
from uuid import UUID, uuid4

from rowlock.client.calls import Caller, Options, Repeat
from rowlock.client.declared import Group, Pages, call, pages
from rowlock.client.failures import OutcomeUnknown, Unavailable
from rowlock.client.keys import Keys
from rowlock.client.log_records import (
    Acknowledged,
    Consumer,
    Counts,
    Delivery,
    Event,
    EventType,
    NewEvent,
    NewSubscription,
    Subscription,
)
from rowlock.client.shapes import KEEP, Keep, Named
from rowlock.client.streams import Stream

Names = Sequence[str]
LONGEST_WAIT_S = 30
MOST_EVENTS = 100
PAUSE_S = 1.0  # of a consumer, after a call that has failed in spite of its retries


class Log(Group):
    """The log of events."""

    async def post(
        self,
        name: str,
        payload: Mapping[str, Any],
        *,
        subject: str | None = None,
        event_id: UUID | None = None,
        created_at: datetime | None = None,
        **options: Unpack[Options],
    ) -> Event:
        """Store an event, once for each `event_id`: one is made for the attempts of this call.

        After an OutcomeUnknown, only a call with the same `event_id` is the same call: give your
        own if you mean to make it again.
        """
        event_id = event_id or uuid4()
        return await self._store(
            name=name,
            payload=payload,
            subject=subject,
            event_id=event_id,
            created_at=created_at,
            **options,
        )

    @call("POST /events", repeat=Repeat.BY_NATURE)
    async def _store(
        self,
        *,
        name: str,
        payload: Mapping[str, Any],
        event_id: UUID,
        subject: str | None = None,
        created_at: datetime | None = None,
        **options: Unpack[Options],
    ) -> Event:
        """Store an event."""

    @call("POST /events/batch", repeat=Repeat.BY_NATURE)
    async def post_batch(self, events: Sequence[NewEvent], **options: Unpack[Options]) -> Counts:
        """Store up to 1,000 events in one transaction."""

    @call("GET /events/{event_id}")
    async def get(self, event_id: int, **options: Unpack[Options]) -> Event:
        """Get the event at a place of the log."""

    @pages("GET /events")
    def list(
        self,
        *,
        after: int | None = None,
        name: str | None = None,
        subject: str | None = None,
        since: Annotated[datetime | None, Named("from")] = None,
        until: Annotated[datetime | None, Named("to")] = None,
        order: str | None = None,
        limit: int | None = None,
        **options: Unpack[Options],
    ) -> Pages[Event]:
        """List events: oldest first after an id, or newest first (`order="newest"`)."""

    def stream(
        self,
        *,
        after: int | None = None,
        name: str | None = None,
        subject: str | None = None,
        **options: Unpack[Options],
    ) -> Stream:
        """Stream events as they are stored: those after an id, or those from now on."""
        wanted = {"name": name, "subject": subject}
        query = {key: text for key, text in wanted.items() if text is not None}
        return Stream(self._caller, query, after, options)

    @call("GET /events/schemas")
    async def types(self, **options: Unpack[Options]) -> tuple[EventType, ...]:
        """List the names of events, with the latest version of each."""

    @call("GET /events/schemas/{name}")
    async def schema(
        self, name: str, *, version: int | None = None, **options: Unpack[Options]
    ) -> Mapping[str, Any]:
        """Get the JSON Schema of an event's payload."""


class Consumers(Group):
    """Named cursors in the log, which are kept there."""

    @call("PUT /consumers/{name}")
    async def put(
        self,
        name: str,
        *,
        start: Annotated[int | datetime | None, Named("from")] = None,
        **options: Unpack[Options],
    ) -> Consumer:
        """Create a consumer, or reset it to the event of an id or of a time."""

    @call("GET /consumers/{name}")
    async def get(self, name: str, **options: Unpack[Options]) -> Consumer:
        """Get a consumer, and how far behind it is."""

    @pages("GET /consumers")
    def list(self, *, limit: int | None = None, **options: Unpack[Options]) -> Pages[Consumer]:
        """List consumers, newest first."""

    @call("DELETE /consumers/{name}")
    async def delete(self, name: str, **options: Unpack[Options]) -> None:
        """Delete a consumer."""

    async def read(
        self,
        name: str,
        *,
        limit: int = MOST_EVENTS,
        wait_s: int = 0,
        **options: Unpack[Options],
    ) -> tuple[Event, ...]:
        """Read the next events of a consumer; wait for the first for up to 30 s."""
        policy = options.get("policy") or self._caller.policy
        options["policy"] = replace(
            policy,
            attempt_timeout_s=policy.attempt_timeout_s + wait_s,
            deadline_s=policy.deadline_s + wait_s,
        )
        return await self._read(name, limit=limit, wait_s=wait_s, **options)

    @call("GET /consumers/{name}/events")
    async def _read(
        self, name: str, *, limit: int, wait_s: int, **options: Unpack[Options]
    ) -> tuple[Event, ...]:
        """Read the next events of a consumer."""

    @call("POST /consumers/{name}/ack", repeat=Repeat.BY_NATURE)
    async def acknowledge(
        self,
        name: str,
        *,
        id: int,  # noqa: A002  # as the API calls it
        **options: Unpack[Options],
    ) -> Acknowledged:
        """Acknowledge all events up to the one with the `id`."""

    async def run(
        self,
        name: str,
        handle: Callable[[tuple[Event, ...]], Awaitable[None]],
        *,
        limit: int = MOST_EVENTS,
        **options: Unpack[Options],
    ) -> None:
        """Hand over the events of a consumer, page by page, until the task is cancelled.

        A page is acknowledged once `handle` has returned; what it raises ends this, and the page
        comes again. So each event comes at least once: be ready for one that comes again. Outages
        are waited out. Raises Refused, such as for a 410 `position_unknown`: reset the consumer.
        """
        while True:
            try:
                page = await self.read(name, limit=limit, wait_s=LONGEST_WAIT_S, **options)
            except Unavailable:
                await asyncio.sleep(PAUSE_S)
                continue
            if not page:
                continue
            await handle(page)
            try:
                await self.acknowledge(name, id=page[-1].id, **options)
            except (Unavailable, OutcomeUnknown):
                await asyncio.sleep(PAUSE_S)  # and the page comes again, or it does not


class Subscriptions(Group):
    """Where events are posted to, as webhooks."""

    @call("POST /subscriptions")
    async def create(
        self,
        *,
        url: str,
        names: Names,
        subject: str | None = None,
        description: str | None = None,
        **options: Unpack[Options],
    ) -> NewSubscription:
        """Create a subscription to events of these names: `invoice.paid`, `invoice.*` or `*`."""

    @call("GET /subscriptions/{subscription_id}")
    async def get(self, subscription_id: int, **options: Unpack[Options]) -> Subscription:
        """Get a subscription, without its secret."""

    @pages("GET /subscriptions")
    def list(self, *, limit: int | None = None, **options: Unpack[Options]) -> Pages[Subscription]:
        """List subscriptions, newest first."""

    @call("PATCH /subscriptions/{subscription_id}")
    async def change(
        self,
        subscription_id: int,
        *,
        url: str | None = None,
        names: Names | None = None,
        subject: str | Keep | None = KEEP,
        description: str | Keep | None = KEEP,
        **options: Unpack[Options],
    ) -> Subscription:
        """Change a subscription. None removes what KEEP leaves as it is."""

    @call("DELETE /subscriptions/{subscription_id}")
    async def delete(self, subscription_id: int, **options: Unpack[Options]) -> None:
        """Delete a subscription, with its deliveries."""

    @call("POST /subscriptions/{subscription_id}/rotate-secret")
    async def rotate_secret(
        self, subscription_id: int, **options: Unpack[Options]
    ) -> NewSubscription:
        """Give a subscription a new secret. For 24 hours, both sign."""

    @call("POST /subscriptions/{subscription_id}/test")
    async def test(self, subscription_id: int, **options: Unpack[Options]) -> Delivery:
        """Post a test."""

    @call("POST /subscriptions/{subscription_id}/enable")
    async def enable(self, subscription_id: int, **options: Unpack[Options]) -> Subscription:
        """Enable a subscription."""

    @call("POST /subscriptions/{subscription_id}/disable")
    async def disable(self, subscription_id: int, **options: Unpack[Options]) -> Subscription:
        """Disable a subscription."""

    @call("POST /subscriptions/{subscription_id}/recover")
    async def recover(
        self, subscription_id: int, *, since: datetime, **options: Unpack[Options]
    ) -> Subscription:
        """Post the events since a time once more."""

    @pages("GET /subscriptions/{subscription_id}/deliveries")
    def deliveries(
        self,
        subscription_id: int,
        *,
        status: str | None = None,
        limit: int | None = None,
        **options: Unpack[Options],
    ) -> Pages[Delivery]:
        """List deliveries, newest first."""

    @call("POST /deliveries/{delivery_id}/resend")
    async def resend(self, delivery_id: int, **options: Unpack[Options]) -> Delivery:
        """Post a delivery again, whatever came of it."""


class Events(Caller):
    """The service of events, on port 3001 unless said otherwise."""

    @cached_property
    def log(self) -> Log:
        """The log of events."""
        return Log(self)

    @cached_property
    def consumers(self) -> Consumers:
        """Named cursors."""
        return Consumers(self)

    @cached_property
    def subscriptions(self) -> Subscriptions:
        """Webhooks."""
        return Subscriptions(self)

    @cached_property
    def keys(self) -> Keys:
        """API keys."""
        return Keys(self)
