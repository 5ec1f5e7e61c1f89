"""Deliveries to subscriptions: why they fail, sent again: one, some, or all; and each receiver."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import marshmallow
from aiohttp import web
from marshmallow import fields, validate

from rowlock.console import Features
from rowlock.engine.jobs import StartJob, StopJob
from rowlock.engine.lanes import WriteLane
from rowlock.errors import InvalidRequest, NotFound
from rowlock.http.access import origin_of
from rowlock.http.fields import QueryInteger, Text, parse_integer
from rowlock.http.openapi.shapes import BIGINT_MAX
from rowlock.http.submit import find_by_path
from rowlock.origin import Origin
from rowlock.pages.declaring import Pages, page
from rowlock.pages.fields import Day
from rowlock.pages.forms import Form, read_form
from rowlock.pages.frames import Frame
from rowlock.pages.lists import (
    PAGE_SIZE,
    ListQuery,
    listing,
    none_of,
    read_filters,
    send_csv,
)
from rowlock.rejections import SubscriptionNotFound
from rowlock.subscriptions import Subscriptions
from rowlock.subscriptions.resending import RESEND_ALL
from rowlock.subscriptions.rules import (
    DELIVERY_STATUSES,
    MOST_SUBSCRIPTIONS,
    PROBLEM_LENGTH,
    DeliveryRow,
    Disable,
    Enable,
    Recover,
    Resend,
    SendTest,
    Subscription,
)

MARKED, MOST_MARKED = "delivery", 200
COLUMNS = (
    "id", "subscription_id", "event_id", "name", "status", "attempts", "problem", "created_at",
    "due_at", "finished_at",
)  # fmt: skip


class FailedFilters(marshmallow.Schema):
    """Which deliveries are meant, of those that were given up."""

    subscription_id = QueryInteger(data_key="subscription", load_default=None)
    problem = Text(data_key="reason", longest=PROBLEM_LENGTH, load_default=None)


class DeliveriesQuery(ListQuery, FailedFilters):
    """The filters of the list."""

    status = fields.String(validate=validate.OneOf(DELIVERY_STATUSES), load_default=None)


class AllForm(FailedFilters):
    """What is to be posted again: what matches, up to the last one when the form was made."""

    until = QueryInteger(minimum=0, required=True)


class RecoverForm(marshmallow.Schema):
    """From when on events are to be posted once more."""

    since = Day(required=True)


class Act(NamedTuple):
    """What an operator can do about a subscription."""

    lane: Callable[[Subscriptions], WriteLane[Any, Any]]
    makes: Callable[[int, Origin], Any]
    title: str
    what: str
    done: str


DELIVERIES_QUERY, ALL_FORM, RECOVER_FORM = DeliveriesQuery(), AllForm(), RecoverForm()
FILTERS = FailedFilters(unknown=marshmallow.EXCLUDE)
ACTS: Mapping[str, Act] = {
    "enable": Act(
        lambda subscriptions: subscriptions.change,
        Enable,
        "Enable subscription {}?",
        "Events from now on are posted. Those since it was disabled are not: recover them next.",
        "Subscription {} is enabled.",
    ),
    "disable": Act(
        lambda subscriptions: subscriptions.change,
        Disable,
        "Disable subscription {}?",
        "Nothing is posted until it is enabled, and what waits for it is given up.",
        "Subscription {} is disabled.",
    ),
    "test": Act(
        lambda subscriptions: subscriptions.test,
        SendTest,
        "Post a test to subscription {}?",
        "Its receiver gets an event subscription.test, which means nothing else.",
        "A test is on its way to subscription {}.",
    ),
}


class DeliveryPages(Pages):
    """Events on their way to subscriptions."""

    def __init__(self, frame: Frame, features: Features) -> None:
        self._frame = frame
        self._subscriptions = features.subscriptions
        self._jobs = features.log_jobs

    @page("GET", "/deliveries")
    async def list_deliveries(self, request: web.Request) -> web.StreamResponse:
        """List deliveries, newest first, with the subscriptions and why deliveries fail."""
        asked = read_filters(request, DELIVERIES_QUERY)
        if asked.errors:
            return await self._show_list(request, none_of(asked), 400)
        wanted = asked.filters()

        async def read(before: int, size: int) -> Sequence[DeliveryRow]:
            return await self._subscriptions.list_newest(**wanted, before=before, page_size=size)

        if asked.wants_csv:
            return await send_csv(
                request, "deliveries", COLUMNS, read, _line, first=BIGINT_MAX,
                key=lambda each: each.id,
            )  # fmt: skip
        found = await read(asked.values["before"], PAGE_SIZE + 1)
        return await self._show_list(request, listing(asked, found, lambda each: str(each.id)))

    async def _show_list(
        self, request: web.Request, shown: Any, status: int = 200
    ) -> web.StreamResponse:
        subscriptions = await self._subscriptions.list_page(
            before=BIGINT_MAX, page_size=MOST_SUBSCRIPTIONS
        )
        ids = [each.id for each in subscriptions]
        return await self._frame.show(
            request,
            "console/deliveries.html",
            status=status,
            place="deliveries",
            listing=shown,
            statuses=DELIVERY_STATUSES,
            subscriptions=subscriptions,
            waiting=await self._subscriptions.count_pending(ids) if ids else {},
            groups=await self._subscriptions.group_failed(),
            job=await self._jobs.find_newest(RESEND_ALL),
        )

    @page("GET", "/deliveries/resend")
    async def ask_resend(self, request: web.Request) -> web.StreamResponse:
        """Ask whether to post the marked deliveries again."""
        ids = _read_marked(request.rel_url.query.getall(MARKED, []))
        deliveries = await self._subscriptions.find_deliveries(ids)
        return await self._frame.show(
            request,
            "console/resend_confirm.html",
            place="deliveries",
            title=f"Post {_count(len(deliveries))} again?",
            what="The receivers get the same events once more, with the same ids."
            if deliveries
            else "There is no such delivery any more: it is older than what is kept.",
            button=f"Post {_count(len(deliveries))} again",
            is_calm=True,
            action=request.path,
            back="/deliveries",
            key=None,
            deliveries=deliveries,
        )

    @page("POST", "/deliveries/resend")
    async def resend(self, request: web.Request) -> web.StreamResponse:
        """Post the marked deliveries again, each by itself."""
        form = await read_form(request)
        origin = origin_of(request)
        ids = _read_marked(form.lists.get(MARKED, []))
        return await self._frame.act_on_all(
            request,
            form,
            self._subscriptions.resend,
            {id_: Resend(id_, origin) for id_ in ids},
            to="/deliveries",
            tells=lambda done: f"{_count(done)} will be posted again.",
        )

    @page("GET", "/deliveries/resend-all")
    async def ask_resend_all(self, request: web.Request) -> web.StreamResponse:
        """Ask whether to post all deliveries again that were given up, and match."""
        asked = read_filters(request, FILTERS)
        if asked.errors:
            raise InvalidRequest("The filters can't be read: go back to the list.")
        subscription_id, problem = asked.values["subscription_id"], asked.values["problem"]
        counted = await self._subscriptions.count_failed(subscription_id, problem)
        count = counted["deliveries"]
        to = f" to subscription {subscription_id}" if subscription_id else ""
        because = f" because of {problem}" if problem else ""
        given = {
            name: asked.given[name] for name in ("subscription", "reason") if name in asked.given
        }
        return await self._frame.show(
            request,
            "console/resend_confirm.html",
            place="deliveries",
            title=f"Post {_count(count)} again?",
            what=f"All{to} that were given up{because} are posted once more, with the same ids, to "
            "those receivers whose subscriptions are active. You can watch it, and stop it.",
            button=f"Post {_count(count)} again",
            is_calm=True,
            action=request.path,
            back=asked.url(),
            key=None,
            deliveries=(),
            hidden={**given, "until": counted["last_id"]},
        )

    @page("POST", "/deliveries/resend-all")
    async def resend_all(self, request: web.Request) -> web.StreamResponse:
        """Begin to post all deliveries again that were given up, and match."""
        form = await read_form(request, ALL_FORM)
        if form.errors:
            raise InvalidRequest("The form can't be read: open its page again.")
        wanted = {
            "subscription_id": form.values["subscription_id"],
            "problem": form.values["problem"],
            "until": form.values["until"],
        }
        counted = await self._subscriptions.count_failed(
            wanted["subscription_id"], wanted["problem"]
        )
        return await self._frame.act(
            request,
            form,
            self._jobs.start,
            StartJob(RESEND_ALL, wanted, counted["deliveries"], origin_of(request)),
            to="/deliveries",
            tells=lambda job: f"{_count(job.total)} are being prepared to be posted again.",
        )

    @page("POST", "/deliveries/stop")
    async def stop(self, request: web.Request) -> web.StreamResponse:
        """Stop posting all again."""
        return await self._frame.act(
            request,
            await read_form(request),
            self._jobs.stop,
            StopJob(RESEND_ALL),
            to="/deliveries",
            tells=lambda job: f"Stopped: {_count(job.done)} will be posted again all the same.",
        )

    @page("GET", "/deliveries/subscriptions/{id}")
    async def show_subscription(self, request: web.Request) -> web.StreamResponse:
        """Show a subscription, and its last deliveries."""
        found = await find_by_path(request, self._subscriptions.find, SubscriptionNotFound)
        waiting = await self._subscriptions.count_pending([found.id])
        deliveries = await self._subscriptions.list_newest(
            subscription_id=found.id, status=None, problem=None, before=BIGINT_MAX,
            page_size=PAGE_SIZE,
        )  # fmt: skip
        return await self._frame.show(
            request,
            "console/subscription.html",
            place="deliveries",
            subscription=found,
            waiting=waiting[found.id],
            deliveries=deliveries,
        )

    @page("GET", "/deliveries/subscriptions/{id}/recover")
    async def ask_recover(self, request: web.Request) -> web.StreamResponse:
        """Ask from when on to post events to a subscription once more."""
        return await self._show_recover(request, Form({}, {}))

    @page("POST", "/deliveries/subscriptions/{id}/recover")
    async def recover(self, request: web.Request) -> web.StreamResponse:
        """Post events to a subscription once more."""
        found = await find_by_path(request, self._subscriptions.find, SubscriptionNotFound)
        form = await read_form(request, RECOVER_FORM)
        if form.errors:
            return await self._show_recover(request, form, 400, form.key)
        return await self._frame.act(
            request,
            form,
            self._subscriptions.change,
            Recover(found.id, form.values["since"], origin_of(request)),
            to=_path(found.id),
            tells=lambda each: f"Events are posted to subscription {each.id} once more.",
        )

    async def _show_recover(
        self, request: web.Request, form: Form, status: int = 200, key: str | None = None
    ) -> web.StreamResponse:
        found = await find_by_path(request, self._subscriptions.find, SubscriptionNotFound)
        return await self._frame.show(
            request,
            "console/recover.html",
            status=status,
            place="deliveries",
            title=f"Recover subscription {found.id}?",
            what="All events since a day that it matches are posted once more, with the same ids. "
            "The receiver may get some that it has.",
            button="Post them once more",
            is_calm=True,
            action=request.path,
            back=_path(found.id),
            key=key,
            form=form,
        )

    @page("GET", "/deliveries/subscriptions/{id}/{act}")
    async def ask_act(self, request: web.Request) -> web.StreamResponse:
        """Ask whether to enable, disable or test a subscription."""
        act = _act_of(request)
        found = await find_by_path(request, self._subscriptions.find, SubscriptionNotFound)
        return await self._frame.show(
            request,
            "pages/confirm.html",
            place="deliveries",
            title=act.title.format(found.id),
            what=act.what,
            button=act.title.format(found.id).removesuffix("?"),
            is_calm=request.match_info["act"] != "disable",
            action=request.path,
            back=_path(found.id),
            key=None,
        )

    @page("POST", "/deliveries/subscriptions/{id}/{act}")
    async def do_act(self, request: web.Request) -> web.StreamResponse:
        """Enable, disable or test a subscription."""
        act = _act_of(request)
        found: Subscription = await find_by_path(
            request, self._subscriptions.find, SubscriptionNotFound
        )
        return await self._frame.act(
            request,
            await read_form(request),
            act.lane(self._subscriptions),
            act.makes(found.id, origin_of(request)),
            to=_path(found.id),
            tells=lambda _: act.done.format(found.id),
        )


def _act_of(request: web.Request) -> Act:
    act = ACTS.get(request.match_info["act"])
    if act is None:
        raise NotFound
    return act


def _path(subscription_id: int) -> str:
    return f"/deliveries/subscriptions/{subscription_id}"


def _read_marked(given: Sequence[str]) -> Sequence[int]:
    """Return the ids of marked deliveries, each once. Raises InvalidRequest."""
    ids = {parse_integer(text) for text in given}
    known = sorted(each for each in ids if each is not None)
    if not known or None in ids:
        raise InvalidRequest("Go back to the list, and mark the deliveries that you mean.")
    if len(known) > MOST_MARKED:
        raise InvalidRequest(f"Mark {MOST_MARKED} deliveries at most, or post all that match.")
    return known


def _count(deliveries: int) -> str:
    return f"{deliveries:,} deliver{'y' if deliveries == 1 else 'ies'}"


def _line(each: DeliveryRow) -> Sequence[str | int]:
    def show(at: datetime | None) -> str:
        return "" if at is None else at.isoformat().replace("+00:00", "Z")

    return (
        each.id,
        each.subscription_id,
        "" if each.event_id is None else each.event_id,
        each.name,
        each.status,
        each.attempts,
        each.problem or "",
        show(each.created_at),
        show(each.due_at),
        show(each.finished_at),
    )
