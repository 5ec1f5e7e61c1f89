"""The log of events: the list with its live tail, and one event in full."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from aiohttp import web

from rowlock.console import Features, reads
from rowlock.console.tail import MOST_ROWS, Batch, Tail
from rowlock.errors import InvalidRequest
from rowlock.events.bodies import NAME_LENGTH
from rowlock.events.rules import BEYOND_ALL, StoredEvent, Wanted
from rowlock.http.fields import NEVER, QueryInteger, Text, parse_integer
from rowlock.http.submit import find_by_path
from rowlock.pages.declaring import Pages, page
from rowlock.pages.frames import Frame
from rowlock.pages.lists import (
    CSV_PAGE_SIZE,
    PAGE_SIZE,
    Asked,
    PeriodQuery,
    none_of,
    page_of,
    read_filters,
    send_pages,
)
from rowlock.pages.live import Message, send_live
from rowlock.rejections import EventNotFound
from rowlock.subscriptions.rules import MOST_SUBSCRIPTIONS, Subscription

ACTOR_LENGTH = 500
# No index has the actors: a page of one actor's events looks through so many of the others.
LOOKED_AT, LOOKS = 1000, 5
MOST_FRESH = 10  # rows of a message that are marked as new: of more, it would only flicker
COLUMNS = (
    "id", "event_id", "name", "subject", "actor", "request_id", "created_at", "payload",
)  # fmt: skip
# The pages of what events happen to, by the kind of their subject.
PLACES: Mapping[str, str] = {
    "invoice": "/invoices/",
    "order": "/orders/",
    "project": "/projects/",
    "service_order": "/bookings/",
    "user": "/users/",
}


class EventsQuery(PeriodQuery):
    """The filters of the list."""

    name = Text(longest=NAME_LENGTH, load_default=None)
    subject = Text(longest=NAME_LENGTH, load_default=None)
    actor = Text(longest=ACTOR_LENGTH, load_default=None)


class TailQuery(EventsQuery):
    """And where the tail begins."""

    after = QueryInteger(minimum=0, load_default=None)


EVENTS_QUERY, TAIL_QUERY = EventsQuery(), TailQuery()


class EventPages(Pages):
    """The log."""

    def __init__(self, frame: Frame, features: Features) -> None:
        self._frame = frame
        self._features = features

    @page("GET", "/events")
    async def list_events(self, request: web.Request) -> web.StreamResponse:
        """List events, newest first, and follow the log."""
        asked = read_filters(request, EVENTS_QUERY)
        if asked.errors:
            return await self._frame.show(
                request,
                "console/events.html",
                status=400,
                place="events",
                listing=none_of(asked),
                tail=None,
                is_cut=False,
            )
        if asked.wants_csv:
            return await send_pages(request, "events", COLUMNS, self._pages(asked), _line)
        before = asked.values["before"]
        # Nothing is added below a cursor, nor before a day that is over.
        follows = before == BEYOND_ALL and asked.values["until"] == NEVER
        # First: what comes after this is in the list, or in the tail, or in both.
        end = (await self._features.events.places.find_end()).id if follows else 0
        found, goes_on = await self._read(asked, before, PAGE_SIZE)
        listing = page_of(asked, found, None if goes_on is None else str(goes_on))
        return await self._frame.show(
            request,
            "console/events.html",
            place="events",
            listing=listing,
            tail=replace(asked, path="/events/live").url() if follows else None,
            last=max([end, *(event.id for event in found[:1])]),
            most_rows=MOST_ROWS,
            is_cut=goes_on is not None and len(found) < PAGE_SIZE,
            looked_at=LOOKED_AT * LOOKS,
        )

    @page("GET", "/events/live")
    async def follow_events(self, request: web.Request) -> web.StreamResponse:
        """Send events as they are stored, as rows of the list."""
        asked = read_filters(request, TAIL_QUERY)
        if asked.errors:
            raise InvalidRequest("The filters of the tail can't be read.")
        tail = Tail(
            self._features.events,
            await find_place(request, self._features, asked.values["after"]),
            _wanted(asked),
            partial(_is_by, asked.values["actor"]),
        )
        given = {name: text for name, text in asked.given.items() if name != "after"}
        shown = replace(asked, path="/events", given=given)

        async def messages() -> AsyncIterator[Message]:
            async for batch in tail.follow():
                yield Message(batch.place, self._render(request, shown, batch))

        return await send_live(
            request, messages(), self._features.draining, self._features.events.settings
        )

    @page("GET", "/events/{id:(?!live$)[^/]+}")
    async def show_event(self, request: web.Request) -> web.StreamResponse:
        """Show an event in full."""
        event = await find_by_path(request, self._features.events.find, EventNotFound)
        subscriptions = await self._features.subscriptions.list_page(
            before=BEYOND_ALL, page_size=MOST_SUBSCRIPTIONS
        )
        dispatched = await self._features.log.read(reads.find_dispatched)
        deliveries = await self._features.log.read(
            partial(reads.find_deliveries, event_ids=[event.id])
        )
        return await self._frame.show(
            request,
            "console/event.html",
            place="events",
            event=event,
            home=_home_of(event.subject),
            subscriptions=[each for each in subscriptions if _wants(each, event)],
            dispatched=dispatched,
            deliveries={each["subscription_id"]: each for each in deliveries},
        )

    async def _read(
        self, asked: Asked, before: int, size: int
    ) -> tuple[Sequence[StoredEvent], int | None]:
        """Return a page of events below `before`, and where the list goes on, if it does.

        Of one actor's events, there may be fewer in it, though the list goes on.
        """
        actor, wanted = asked.values["actor"], _wanted(asked)
        kept: list[StoredEvent] = []
        step, most = (size + 1, 1) if actor is None else (LOOKED_AT, LOOKS)
        for _ in range(most):
            found = await self._features.events.list_newest(wanted, before=before, page_size=step)
            kept += [event for event in found if _is_by(actor, event)]
            if len(kept) > size:
                return kept[:size], kept[size - 1].id
            if len(found) < step:
                return kept, None
            before = found[-1].id
        return kept, before

    async def _pages(self, asked: Asked) -> AsyncIterator[Sequence[StoredEvent]]:
        before: int | None = BEYOND_ALL
        while before is not None:
            found, before = await self._read(asked, before, CSV_PAGE_SIZE)
            yield found

    def _render(self, request: web.Request, asked: Asked, batch: Batch) -> str:
        """Return the rows of a batch, newest first; below them, how many were left out."""
        events = [*reversed(batch.events)]
        older = page_of(asked, (), str(events[-1].id)).older if events else asked.url()
        return self._frame.fragment(
            request,
            "console/event_rows.html",
            events=events,
            is_fresh=len(events) <= MOST_FRESH,
            skipped=batch.skipped,
            is_exact=batch.is_exact,
            skipped_url=older,
        )


async def find_place(request: web.Request, features: Features, after: int | None) -> int:
    """Return where a live part begins: after what the client has seen, or at the end of the log."""
    known = parse_integer(request.headers.get("Last-Event-ID", ""), minimum=0)
    if known is not None:
        return known
    return (await features.events.places.find_end()).id if after is None else after


def _wanted(asked: Asked) -> Wanted:
    values = asked.values
    return Wanted(values["name"], values["subject"], values["since"], values["until"])


def _is_by(actor: str | None, event: StoredEvent) -> bool:
    return actor in {None, event.actor}


def _wants(subscription: Subscription, event: StoredEvent) -> bool:
    """Tell whether a subscription is for events such as this one."""
    return subscription.subject in {None, event.subject} and any(
        event.name.startswith(name.removesuffix("*")) if name.endswith("*") else name == event.name
        for name in subscription.names
    )


def _home_of(subject: str | None) -> str | None:
    """Return the path of the page of what an event happened to, if there is one."""
    kind, _, given = (subject or "").partition(":")
    number = parse_integer(given)
    return f"{PLACES[kind]}{number}" if number is not None and kind in PLACES else None


def _line(event: StoredEvent) -> Sequence[str | int]:
    return (
        event.id,
        str(event.event_id),
        event.name,
        event.subject or "",
        event.actor or "",
        event.request_id or "",
        event.created_at.isoformat().replace("+00:00", "Z"),
        event.payload,
    )
