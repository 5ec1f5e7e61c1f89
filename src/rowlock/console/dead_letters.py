"""Dead letters: grouped by their reasons, one in full, and sent again: one, some, or all."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import marshmallow
from aiohttp import web
from marshmallow import fields

from rowlock.console import Features
from rowlock.delivery.dead_letters import (
    REPLAY_ALL,
    DeadLetter,
    Park,
    Replay,
    ask_all,
)
from rowlock.engine.jobs import StartJob, StopJob
from rowlock.engine.outbox import Letters, Place
from rowlock.errors import InvalidRequest, NotFound
from rowlock.http.access import origin_of
from rowlock.http.fields import QueryInstant, QueryInteger, Text
from rowlock.http.paging import UuidCursor
from rowlock.pages.declaring import Pages, page
from rowlock.pages.fields import Day
from rowlock.pages.forms import Form, read_form
from rowlock.pages.frames import Frame
from rowlock.pages.lists import (
    CURSOR,
    PAGE_SIZE,
    FormatQuery,
    listing,
    none_of,
    read_filters,
    send_csv,
)

ERROR_LENGTH, NAME_LENGTH = 1000, 200
MARKED, MOST_MARKED = "event", 200
LAST = Place(datetime(9999, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1))
COLUMNS = (
    "event_id", "name", "subject", "status", "reason", "refused_at", "created_at", "actor",
    "request_id",
)  # fmt: skip


class LettersFilters(marshmallow.Schema):
    """Which dead letters are meant."""

    status = QueryInteger(minimum=0, maximum=599, load_default=None)
    error = Text(data_key="reason", longest=ERROR_LENGTH, lines=True, load_default=None)
    name = Text(longest=NAME_LENGTH, load_default=None)
    since = Day(data_key="from", load_default=None)
    until = Day(data_key="to", is_end=True, load_default=None)


class LettersQuery(FormatQuery, LettersFilters):
    """The filters of the list."""

    before = UuidCursor(data_key=CURSOR, load_default=LAST)


class AllForm(LettersFilters):
    """What is to be sent again: what matches, and was refused before the form was made."""

    asked_at = QueryInstant(required=True)


class ParkForm(marshmallow.Schema):
    """The event to set aside."""

    event = fields.UUID(required=True, error_messages={"invalid_uuid": "Must be an event's id."})


LETTERS_QUERY, FILTERS, ALL_FORM, PARK_FORM = (
    LettersQuery(), LettersFilters(unknown=marshmallow.EXCLUDE), AllForm(), ParkForm()
)  # fmt: skip


class DeadLetterPages(Pages):
    """Events that the events service has refused, or that were parked."""

    def __init__(self, frame: Frame, features: Features) -> None:
        self._frame = frame
        self._letters = features.dead_letters
        self._jobs = features.jobs

    @page("GET", "/dead-letters")
    async def list_letters(self, request: web.Request) -> web.StreamResponse:
        """List dead letters, the last refusal first, and their reasons."""
        asked = read_filters(request, LETTERS_QUERY)
        if asked.errors:
            return await self._show_list(request, none_of(asked), 400)
        wanted = Letters(**asked.filters())

        async def read(before: Place, size: int) -> Sequence[DeadLetter]:
            return await self._letters.list_page(wanted, before=before, page_size=size)

        if asked.wants_csv:
            return await send_csv(
                request, "dead-letters", COLUMNS, read, _line, first=LAST, key=_place
            )
        found = await read(Place(*asked.values["before"]), PAGE_SIZE + 1)
        return await self._show_list(
            request, listing(asked, found, lambda each: _show_place(_place(each)))
        )

    async def _show_list(
        self, request: web.Request, shown: Any, status: int = 200
    ) -> web.StreamResponse:
        return await self._frame.show(
            request,
            "console/dead_letters.html",
            status=status,
            place="dead_letters",
            listing=shown,
            groups=await self._letters.group(),
            job=await self._jobs.find_newest(REPLAY_ALL),
        )

    @page("GET", "/dead-letters/retry")
    async def ask_retry(self, request: web.Request) -> web.StreamResponse:
        """Ask whether to send the marked events again."""
        ids = _read_marked(request.rel_url.query.getall(MARKED, []))
        letters = await self._letters.find(ids)
        how_many = _count(len(letters))
        return await self._frame.show(
            request,
            "console/letters_confirm.html",
            place="dead_letters",
            title=f"Send {how_many} again?",
            what="It goes back into the outbox, and is delivered in its turn. If it is refused "
            "again, it comes back here."
            if letters
            else "It is no dead letter any more: another operator has sent it again.",
            button=f"Send {how_many} again",
            is_calm=True,
            action=request.path,
            back="/dead-letters",
            key=None,
            letters=letters,
        )

    @page("POST", "/dead-letters/retry")
    async def retry(self, request: web.Request) -> web.StreamResponse:
        """Send the marked events again."""
        form = await read_form(request)
        command = Replay(_read_marked(form.lists.get(MARKED, [])), origin_of(request))
        return await self._frame.act(
            request,
            form,
            self._letters.replay,
            command,
            to="/dead-letters",
            tells=lambda done: f"{_count(done)} went back into the outbox.",
        )

    @page("GET", "/dead-letters/retry-all")
    async def ask_retry_all(self, request: web.Request) -> web.StreamResponse:
        """Ask whether to send all events again that match."""
        asked = read_filters(request, FILTERS)
        if asked.errors:
            raise InvalidRequest("The filters can't be read: go back to the list.")
        now = datetime.now(UTC)
        wanted = Letters(**{name: asked.values.get(name) for name in Letters._fields})
        count = await self._letters.count(Letters(**ask_all(wanted, now)))
        given = {name: asked.given[name] for name in NAMES if name in asked.given}
        which = ", ".join(_word(name, text) for name, text in given.items())
        return await self._frame.show(
            request,
            "console/letters_confirm.html",
            place="dead_letters",
            title=f"Send {_count(count)} again?",
            what=f"All that were refused until {now:%Y-%m-%d %H:%M:%S} UTC"
            f"{f' with {which}' if which else ''} go back into the outbox, in the order in which "
            "they happened. You can watch it, and stop it. What is refused again comes back here.",
            button=f"Send {_count(count)} again",
            is_calm=True,
            action=request.path,
            back=asked.url(),
            key=None,
            letters=(),
            hidden={**given, "asked_at": now.isoformat().replace("+00:00", "Z")},
        )

    @page("POST", "/dead-letters/retry-all")
    async def retry_all(self, request: web.Request) -> web.StreamResponse:
        """Begin to send all events again that match."""
        form = await read_form(request, ALL_FORM)
        if form.errors:
            raise InvalidRequest("The form can't be read: open its page again.")
        wanted = Letters(**{name: form.values.get(name) for name in Letters._fields})
        what = ask_all(wanted, form.values["asked_at"])
        total = await self._letters.count(Letters(**what))
        return await self._frame.act(
            request,
            form,
            self._jobs.start,
            StartJob(REPLAY_ALL, what, total, origin_of(request)),
            to="/dead-letters",
            tells=lambda job: f"{_count(job.total)} are being sent again.",
        )

    @page("POST", "/dead-letters/stop")
    async def stop(self, request: web.Request) -> web.StreamResponse:
        """Stop sending all again."""
        return await self._frame.act(
            request,
            await read_form(request),
            self._jobs.stop,
            StopJob(REPLAY_ALL),
            to="/dead-letters",
            tells=lambda job: f"Stopped: {_count(job.done)} had been sent again.",
        )

    @page("GET", "/dead-letters/park")
    async def ask_park(self, request: web.Request) -> web.StreamResponse:
        """Ask which event to set aside."""
        return await self._show_park(request, Form({}, {}))

    @page("POST", "/dead-letters/park")
    async def park(self, request: web.Request) -> web.StreamResponse:
        """Set an event aside that is not delivered yet."""
        form = await read_form(request, PARK_FORM)
        if form.errors:
            return await self._show_park(request, form, 400, form.key)
        event_id = form.values["event"]
        return await self._frame.act(
            request,
            form,
            self._letters.park,
            Park(event_id, origin_of(request)),
            to="/dead-letters",
            tells=lambda _: f"Event {event_id} was set aside.",
        )

    async def _show_park(
        self, request: web.Request, form: Form, status: int = 200, key: str | None = None
    ) -> web.StreamResponse:
        return await self._frame.show(
            request,
            "console/park.html",
            status=status,
            place="dead_letters",
            title="Set an event aside?",
            what="An event that can't be delivered holds up those behind it. Set aside, it becomes "
            "a dead letter: the others go on, and it can be sent again later.",
            button="Set it aside",
            action=request.path,
            back="/dead-letters",
            key=key,
            form=form,
        )

    @page("GET", "/dead-letters/{id}")
    async def show_letter(self, request: web.Request) -> web.StreamResponse:
        """Show a dead letter in full."""
        try:
            event_id = UUID(request.match_info["id"])
        except ValueError:
            raise NotFound from None
        found = await self._letters.find([event_id])
        if not found:
            raise NotFound("This event is no dead letter, or not any more.")
        return await self._frame.show(
            request, "console/dead_letter.html", place="dead_letters", letter=found[0]
        )


NAMES: Mapping[str, str] = {
    "status": "status",
    "reason": "the reason",
    "name": "the name",
    "from": "from",
    "to": "to",
}


def _word(name: str, text: str) -> str:
    return f"{NAMES[name]} {text[:100]}"


def _read_marked(given: Sequence[str]) -> Sequence[UUID]:
    """Return the ids of marked events, each once. Raises InvalidRequest."""
    try:
        ids = sorted({UUID(text) for text in given})
    except ValueError:
        ids = []
    if not ids:
        raise InvalidRequest("Go back to the list, and mark the events that you mean.")
    if len(ids) > MOST_MARKED:
        raise InvalidRequest(f"Mark {MOST_MARKED} events at most, or send all that match.")
    return ids


def _count(events: int) -> str:
    return f"{events:,} event{'' if events == 1 else 's'}"


def _place(letter: DeadLetter) -> Place:
    return Place(letter.refused_at, letter.event_id)


def _show_place(place: Place) -> str:
    return f"{place.at.isoformat()}/{place.event_id}"


def _line(letter: DeadLetter) -> Sequence[str | int]:
    return (
        str(letter.event_id),
        letter.name,
        letter.subject,
        letter.status,
        letter.error,
        letter.refused_at.isoformat().replace("+00:00", "Z"),
        letter.created_at.isoformat().replace("+00:00", "Z"),
        letter.actor or "",
        letter.request_id or "",
    )
