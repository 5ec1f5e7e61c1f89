"""Orders: the list, one order with all that happened to it, and what can be done about it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

import marshmallow
from aiohttp import web
from marshmallow import fields, validate

from rowlock.accounts.rules import BALANCE_LIMIT, Document
from rowlock.console import Features, reads
from rowlock.console.documents import path_of
from rowlock.console.reads import Attempts
from rowlock.console.stories import Step, read_log, tell
from rowlock.http.access import origin_of
from rowlock.http.fields import REFERENCE_LENGTH, QueryInteger, Text
from rowlock.http.openapi.shapes import BIGINT_MAX
from rowlock.http.request import path_id
from rowlock.http.submit import find_by_path
from rowlock.orders.rules import STATUSES, CancelOrder, Filter, Order, RetryOrder
from rowlock.pages.declaring import Pages, page
from rowlock.pages.fields import Amount
from rowlock.pages.forms import Form, read_form
from rowlock.pages.frames import Frame
from rowlock.pages.lists import (
    PAGE_SIZE,
    SortedQuery,
    listing,
    none_of,
    read_filters,
    send_csv,
)
from rowlock.pages.templates import show_money
from rowlock.refunds.rules import Refund, RefundOrder
from rowlock.rejections import OrderNotFound

MOST_REFUNDS = 50
COLUMNS = ("id", "status", "user_id", "amount", "refunded", "reference", "created_at", "settled_at")


class OrdersQuery(SortedQuery):
    """The filters of the list."""

    user_id = QueryInteger(data_key="user", load_default=None)
    status = fields.String(validate=validate.OneOf(STATUSES), load_default=None)
    reference = Text(longest=REFERENCE_LENGTH, load_default=None)


ORDERS_QUERY = OrdersQuery()


class OrderPages(Pages):
    """Orders."""

    def __init__(self, frame: Frame, features: Features) -> None:
        self._frame = frame
        self._features = features
        self._refund_form = marshmallow.Schema.from_dict(
            {
                "amount": Amount(
                    frame.settings.money.decimals, maximum=BALANCE_LIMIT, load_default=None
                )
            }
        )()

    @page("GET", "/orders")
    async def list_orders(self, request: web.Request) -> web.StreamResponse:
        """List orders, newest first."""
        asked = read_filters(request, ORDERS_QUERY)
        orders = self._features.orders
        if asked.errors:
            return await self._frame.show(
                request,
                "console/orders.html",
                status=400,
                place="orders",
                listing=none_of(asked),
                names={},
                statuses=STATUSES,
            )
        wanted = Filter(**asked.filters())

        async def read(after: int, size: int) -> Sequence[Order]:
            if asked.is_oldest_first:
                page = await orders.list_oldest(wanted, after=after, page_size=size)
            else:
                page = await orders.list_page(wanted, before=after, page_size=size)
            # What has a reference may be none that the other filters want.
            return page if wanted.reference is None else [*filter(wanted.takes, page)]

        if asked.wants_csv:
            return await send_csv(
                request,
                "orders",
                COLUMNS,
                read,
                _line,
                first=asked.first,
                key=lambda each: each.id,
            )
        found = await read(asked.start, PAGE_SIZE + 1)
        return await self._frame.show(
            request,
            "console/orders.html",
            place="orders",
            listing=listing(asked, found, lambda order: str(order.id)),
            names=await self._find_names(found),
            statuses=STATUSES,
        )

    @page("GET", "/orders/{id}")
    async def show_order(self, request: web.Request) -> web.StreamResponse:
        """Show an order, and all that happened to it."""
        order = await find_by_path(request, self._features.orders.find, OrderNotFound)
        refunds = await self._features.refunds.list_page(
            order.id, before=BIGINT_MAX, page_size=MOST_REFUNDS
        )
        main = self._features.main
        documents = [Document("order", order.id)]
        documents += [Document("refund", refund.id) for refund in refunds]
        attempts = await main.read(partial(reads.find_attempts, order_id=order.id), is_fresh=True)
        log = await read_log(self._features, f"order:{order.id}")
        return await self._frame.show(
            request,
            "console/order.html",
            place="orders",
            order=order,
            refunds=refunds,
            attempts=attempts,
            is_late=bool(attempts and attempts.next_at and order.status == "pending"),
            names=await self._find_names([order]),
            products=await self._features.catalogue.name_products(
                item.product_id for item in order.items
            ),
            entries=await main.read(partial(reads.find_entries, documents=documents)),
            path_of=path_of,
            steps=tell(_facts(order, refunds, attempts), log),
            dispatched=log.dispatched if log else 0,
        )

    async def _find_names(self, orders: Sequence[Order]) -> Mapping[int, str]:
        user_ids = {order.user_id for order in orders if order.user_id is not None}
        return await self._features.main.read(partial(reads.find_usernames, user_ids=user_ids))

    @page("GET", "/orders/{id}/retry")
    async def ask_retry(self, request: web.Request) -> web.StreamResponse:
        """Ask whether to settle a postponed order at once."""
        order = await find_by_path(request, self._features.orders.find, OrderNotFound)
        return await self._frame.show(
            request,
            "pages/confirm.html",
            place="orders",
            title=f"Settle order {order.id} now?",
            what="The order processor tries it again at once, instead of waiting for the time that "
            "it was postponed to. This counts as a try like any other.",
            button="Settle it now",
            is_calm=True,
            action=request.path,
            back=f"/orders/{order.id}",
            key=None,
        )

    @page("POST", "/orders/{id}/retry")
    async def retry(self, request: web.Request) -> web.StreamResponse:
        """Let a postponed order be settled at once."""
        order_id = path_id(request, OrderNotFound)
        return await self._frame.act(
            request,
            await read_form(request),
            self._features.orders.retry,
            RetryOrder(order_id, origin_of(request)),
            to=f"/orders/{order_id}",
            tells=lambda order: f"Order {order.id} will be settled at once.",
        )

    @page("GET", "/orders/{id}/cancel")
    async def ask_cancel(self, request: web.Request) -> web.StreamResponse:
        """Ask whether to cancel an order."""
        order = await find_by_path(request, self._features.orders.find, OrderNotFound)
        return await self._frame.show(
            request,
            "pages/confirm.html",
            place="orders",
            title=f"Cancel order {order.id}?",
            what="It will not be settled, and costs nothing. This can't be undone.",
            button="Cancel the order",
            action=request.path,
            back=f"/orders/{order.id}",
            key=None,
        )

    @page("POST", "/orders/{id}/cancel")
    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """Cancel an order."""
        order_id = path_id(request, OrderNotFound)
        form = await read_form(request)
        return await self._frame.act(
            request,
            form,
            self._features.orders.cancel,
            CancelOrder(order_id, origin_of(request)),
            to=f"/orders/{order_id}",
            tells=lambda order: f"Order {order.id} was cancelled.",
        )

    @page("GET", "/orders/{id}/refund")
    async def ask_refund(self, request: web.Request) -> web.StreamResponse:
        """Ask how much of an order to refund."""
        return await self._show_refund(request, Form({}, {}))

    @page("POST", "/orders/{id}/refund")
    async def refund(self, request: web.Request) -> web.StreamResponse:
        """Refund an order, in part or whole."""
        order_id = path_id(request, OrderNotFound)
        form = await read_form(request, self._refund_form)
        if form.errors:
            return await self._show_refund(request, form, status=400, key=form.key)
        return await self._frame.act(
            request,
            form,
            self._features.refunds.make,
            RefundOrder(order_id, form.values["amount"], origin_of(request)),
            to=f"/orders/{order_id}",
            tells=self._tell_refund,
            again=partial(self._show_refund, request, form, 409),
        )

    def _tell_refund(self, refund: Refund) -> str:
        money = self._frame.settings.money
        shown = show_money(refund.amount, money.decimals)
        return f"Refunded {shown} {money.currency} of order {refund.order_id}."

    async def _show_refund(
        self,
        request: web.Request,
        form: Form,
        status: int = 200,
        problem: str = "",
        key: str | None = None,
    ) -> web.Response:
        order = await find_by_path(request, self._features.orders.find, OrderNotFound)
        return await self._frame.show(
            request,
            "console/refund.html",
            status=status,
            place="orders",
            title=f"Refund order {order.id}?",
            what="The amount goes back into the balance of the user. A benefit order is refunded "
            "whole, and what it bought can be bought again.",
            button="Refund",
            action=request.path,
            back=f"/orders/{order.id}",
            key=key,
            form=form,
            order=order,
            problem=problem,
        )


def _facts(order: Order, refunds: Sequence[Refund], attempts: Attempts | None) -> Sequence[Step]:
    """Return what the main database knows of an order, and what it waits for."""
    request_id = attempts.request_id if attempts else None
    # A benefit order is settled as it is placed: one event says both.
    created = ("order.created", "benefit_order.placed")
    steps = [Step(order.created_at, "Created", tells=created, request_id=request_id)]
    if order.settled_at is not None:
        state = {"refused": "bad", "cancelled": "off"}.get(order.status, "")
        reason = f": {order.reason}" if order.reason else ""
        text = f"{order.status.capitalize()}{reason}"
        tells = () if order.settled_at == order.created_at else (f"order.{order.status}",)
        steps.append(Step(order.settled_at, text, state, tells))
    for refund in refunds:
        steps.append(Step(refund.created_at, f"Refund {refund.id}", tells=("order.refunded",)))
    if order.status == "pending":
        failures = attempts.failures if attempts else 0
        after = f" after {failures} failed tries" if failures else ""
        steps.append(Step(None, f"Waits to be settled{after}", "waits"))
    return steps


def _line(order: Order) -> Sequence[str | int]:
    def show(at: datetime | None) -> str:
        return "" if at is None else at.isoformat().replace("+00:00", "Z")

    return (
        order.id,
        order.status,
        "" if order.user_id is None else order.user_id,
        order.amount,
        order.refunded,
        order.reference or "",
        show(order.created_at),
        show(order.settled_at),
    )
