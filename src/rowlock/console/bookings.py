"""Bookings: service orders as a week with its free times, and moving and deleting them."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from rowlock.console import Features
from rowlock.console.booking_forms import DELETE_FORM, MOVE_FORM, WEEK_QUERY, ZONE_QUERY
from rowlock.console.weeks import (
    DAYS,
    Span,
    find_zone,
    lay_out,
    name_week,
    show_offset,
    span_of,
    times_of,
    zone_names,
)
from rowlock.errors import Unavailable
from rowlock.events.rules import BEYOND_ALL, Wanted
from rowlock.http.access import origin_of
from rowlock.http.request import path_id
from rowlock.http.submit import find, find_by_path
from rowlock.pages.declaring import Pages, page
from rowlock.pages.forms import Form, read_form
from rowlock.pages.frames import Frame
from rowlock.pages.lists import Asked, read_filters, send_pages
from rowlock.rejections import Rejection, ServiceOrderNotFound, TooCloseToExistingOrder
from rowlock.service_orders.rules import (
    DISTANCE,
    EARLIEST,
    LATEST,
    DeleteOrder,
    ReplaceOrder,
    ServiceOrder,
)

ZONE_COOKIE = "__Host-rowlock-zone"
ZONE_S = 365 * 86_400
MOST_ORDERS = 1000  # of a week: without imported ones, there are at most 57
MOST_SERVICES = 200  # to choose from; where there are more, their ids are entered
MOST_EVENTS = 50
LOCAL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,3})?)?")
COLUMNS = ("id", "datetime", "local", "fee", "services", "imported", "version")


class BookingPages(Pages):
    """Bookings."""

    def __init__(self, frame: Frame, features: Features) -> None:
        self._frame = frame
        self._features = features
        self._orders = features.service_orders

    @page("GET", "/bookings")
    async def show_week(self, request: web.Request) -> web.StreamResponse:
        """Show a week with its bookings and free times."""
        asked = read_filters(request, WEEK_QUERY)
        zone = asked.values.get("zone") or _kept_zone(request)
        now = datetime.now(UTC)
        monday = asked.values.get("monday") or _monday_of(now.astimezone(zone).date())
        values: dict[str, Any] = {
            "place": "bookings",
            "asked": asked,
            "zone": zone,
            "zones": zone_names(),
            "now": now,
            "services": await self._list_services(),
            "week_name": name_week(monday),
        }
        if asked.errors:
            return await self._frame.show(
                request, "console/bookings.html", status=400, week=None, moving=None, **values
            )
        span = span_of(monday, zone)
        if asked.wants_csv:
            return await self._send_csv(request, asked, span, zone)
        moving = None
        if asked.values["move"] is not None:
            moving = await find(self._orders.find, asked.values["move"], ServiceOrderNotFound)
        orders = await self._orders.list_page(
            after=span.start - DISTANCE,
            after_id=0,
            before=span.end + DISTANCE,
            service_id=None,
            page_size=MOST_ORDERS + 1,
        )
        service = asked.values["service"]
        shown = asked.values["move"] or 0
        response = await self._frame.show(
            request,
            "console/bookings.html",
            week=lay_out(monday, zone, orders, shown),
            is_cut=len(orders) > MOST_ORDERS,
            moving=moving,
            hidden={each.id for each in orders if service and not _includes(each, service)},
            before=asked.url(week=name_week(monday - timedelta(days=DAYS)), zone=zone.key),
            after=asked.url(week=name_week(monday + timedelta(days=DAYS)), zone=zone.key),
            today=asked.url(week=None, zone=zone.key),
            csv=asked.url(week=name_week(monday), zone=zone.key, format="csv"),
            **values,
        )
        if asked.values["zone"] is not None:
            _keep_zone(response, zone)
        return response

    @page("GET", "/bookings/{id}")
    async def show_booking(self, request: web.Request) -> web.StreamResponse:
        """Show a booking, and what happened to it."""
        order = await find_by_path(request, self._orders.find, ServiceOrderNotFound)
        try:
            events = await self._features.events.list_newest(
                Wanted(subject=f"service_order:{order.id}"),
                before=BEYOND_ALL,
                page_size=MOST_EVENTS,
            )
        except Unavailable:
            events = None
        zone = _kept_zone(request)
        return await self._frame.show(
            request,
            "console/booking.html",
            place="bookings",
            order=order,
            zone=zone,
            week_name=name_week(order.starts_at.astimezone(zone).date()),
            events=events,
        )

    @page("GET", "/bookings/{id}/move")
    async def ask_move(self, request: web.Request) -> web.StreamResponse:
        """Ask where to move a booking."""
        order = await find_by_path(request, self._orders.find, ServiceOrderNotFound)
        asked = read_filters(request, ZONE_QUERY)
        zone = asked.values.get("zone") or _kept_zone(request)
        at = asked.values.get("at") or order.starts_at
        if not EARLIEST <= at <= LATEST:
            at = order.starts_at
        form = Form(_show_local(at, zone), {})
        return await self._show_move(request, order, form, zone)

    @page("POST", "/bookings/{id}/move")
    async def move(self, request: web.Request) -> web.StreamResponse:
        """Move a booking."""
        order = await find_by_path(request, self._orders.find, ServiceOrderNotFound)
        form = await read_form(request, MOVE_FORM)
        zone = form.values.get("zone") or _kept_zone(request)
        at, problem = (None, None) if form.errors else _read_local(form.values, zone)
        if at is None:
            errors = form.errors if problem is None else {"at": problem}
            wrong = Form(form.given, form.lists, form.values, errors)
            return await self._show_move(request, order, wrong, zone, status=400)
        command = ReplaceOrder(
            order.id,
            at,
            order.fee,
            tuple(service.id for service in order.services),
            {form.values["version"]},
            origin_of(request),
        )

        async def again(reason: str) -> web.Response:
            return await self._show_move(request, order, form, zone, status=409, reason=reason)

        return await self._frame.act(
            request,
            form,
            self._orders.change,
            command,
            to=f"/bookings/{order.id}",
            tells=lambda _: f"Booking {order.id} is at {show_at(at, zone)} now.",
            refuses=lambda rejection: explain(rejection, zone),
            again=again,
        )

    @page("GET", "/bookings/{id}/delete")
    async def ask_delete(self, request: web.Request) -> web.StreamResponse:
        """Ask whether to delete a booking."""
        order = await find_by_path(request, self._orders.find, ServiceOrderNotFound)
        return await self._frame.show(
            request,
            "console/booking_delete.html",
            place="bookings",
            title=f"Delete booking {order.id}?",
            what=f"The appointment at {show_at(order.starts_at, _kept_zone(request))} is cancelled "
            "and its time becomes free. Its id is never used again. This can't be undone.",
            button="Delete the booking",
            action=request.path,
            back=f"/bookings/{order.id}",
            key=None,
            order=order,
        )

    @page("POST", "/bookings/{id}/delete")
    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Delete a booking."""
        order_id = path_id(request, ServiceOrderNotFound)
        form = await read_form(request, DELETE_FORM)
        # Without the version that was shown, it is none that the booking has.
        versions = {form.values.get("version", "")}
        return await self._frame.act(
            request,
            form,
            self._orders.change,
            DeleteOrder(order_id, versions, origin_of(request)),
            to="/bookings",
            tells=lambda _: f"Booking {order_id} was deleted.",
            back=f"/bookings/{order_id}",
            refuses=lambda rejection: explain(rejection, _kept_zone(request)),
        )

    async def _show_move(
        self,
        request: web.Request,
        order: ServiceOrder,
        form: Form,
        zone: ZoneInfo,
        *,
        status: int = 200,
        reason: str = "",
    ) -> web.Response:
        """Show the form to move a booking. After a refusal, with what the booking is by now."""
        if reason:
            order = await find(self._orders.find, order.id, ServiceOrderNotFound)
        local = _parse_local(form.given.get("at", ""))
        return await self._frame.show(
            request,
            "console/booking_move.html",
            status=status,
            place="bookings",
            order=order,
            form=form,
            zone=zone,
            reason=reason,
            offsets=[
                show_offset(at, zone) for at in (times_of(local, zone) if local is not None else ())
            ],
            week_name=name_week(
                local.date() if local is not None else order.starts_at.astimezone(zone).date()
            ),
        )

    async def _list_services(self) -> Sequence[Any] | None:
        """Return the services to choose from; None if there are too many of them."""
        services = await self._orders.list_services.submit(None) or ()
        return services if len(services) <= MOST_SERVICES else None

    async def _send_csv(
        self, request: web.Request, asked: Asked, span: Span, zone: ZoneInfo
    ) -> web.StreamResponse:
        """Send the week as CSV."""

        async def pages() -> Any:
            yield await self._orders.list_page(
                after=span.start,
                after_id=0,
                before=span.end,
                service_id=asked.values["service"],
                page_size=MOST_ORDERS,
            )

        def line(order: ServiceOrder) -> Sequence[str | int]:
            return (
                order.id,
                order.starts_at.isoformat().replace("+00:00", "Z"),
                order.starts_at.astimezone(zone).isoformat(),
                order.fee,
                " ".join(str(service.id) for service in order.services),
                "yes" if order.imported else "",
                order.revision,
            )

        return await send_pages(request, "bookings", COLUMNS, pages(), line)


def _monday_of(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _includes(order: ServiceOrder, service_id: int) -> bool:
    return any(service.id == service_id for service in order.services)


def _kept_zone(request: web.Request) -> ZoneInfo:
    """Return the zone that the visitor has chosen; UTC before that."""
    return find_zone(request.cookies.get(ZONE_COOKIE, "")) or ZoneInfo("UTC")


def _keep_zone(response: web.StreamResponse, zone: ZoneInfo) -> None:
    response.set_cookie(
        ZONE_COOKIE,
        zone.key,
        max_age=ZONE_S,
        path="/",
        secure=True,
        httponly=True,
        samesite="Strict",
    )


def show_at(at: datetime, zone: ZoneInfo) -> str:
    """Return a time in words, as clocks in a zone show it."""
    local = at.astimezone(zone)
    return f"{local:%a} {local.day} {local:%b %Y %H:%M} ({zone.key})"


def explain(rejection: Rejection, zone: ZoneInfo) -> str:
    """Return why a booking was refused, in times of a zone, and what to do."""
    if not isinstance(rejection, TooCloseToExistingOrder):
        return rejection.message

    def show(text: Any) -> str:
        return show_at(datetime.fromisoformat(text), zone)

    details: Mapping[str, Any] = rejection.details
    other = details["order"]
    free = [show(details[name]) for name in ("free_before", "free_after") if details[name]]
    hint = f" The nearest free times are {' and '.join(free)}." if free else ""
    return (
        f"Booking {other['id']} at {show(other['datetime'])} is less than three hours away.{hint}"
    )


def _parse_local(text: str) -> datetime | None:
    """Return a time as clocks show it, or None."""
    try:
        return datetime.fromisoformat(text.strip()) if LOCAL.fullmatch(text.strip()) else None
    except ValueError:
        return None


def _show_local(at: datetime, zone: ZoneInfo) -> dict[str, str]:
    """Return the fields of a form for a time: as clocks in a zone show it, and their offset."""
    local = at.astimezone(zone).replace(tzinfo=None)
    exact = "milliseconds" if local.microsecond else "seconds" if local.second else "minutes"
    return {"at": local.isoformat(timespec=exact), "offset": show_offset(at, zone)}


def _read_local(values: Mapping[str, Any], zone: ZoneInfo) -> tuple[datetime | None, str | None]:
    """Return when the clocks show what was entered, or what is wrong with it."""
    local = _parse_local(values["at"])
    if local is None:
        return None, "Must be a day and a time, such as 2026-11-21 09:30."
    times = times_of(local, zone)
    if not times:
        return None, f"Clocks in {zone.key} never show this time: they are put forward then."
    if len(times) > 1:
        times = [at for at in times if show_offset(at, zone) == values["offset"]]
    if len(times) != 1:
        return None, f"Clocks in {zone.key} show this time twice: choose which one."
    if not EARLIEST <= times[0] <= LATEST:
        return None, "Must be between the years 1 and 9999."
    return times[0], None
