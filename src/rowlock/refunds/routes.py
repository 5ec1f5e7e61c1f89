"""HTTP ↔ command: refunds. They are below their orders, and all amounts are minor units."""

from typing import Any

from aiohttp import web

from rowlock.accounts.rules import BALANCE_LIMIT
from rowlock.http.access import origin_of
from rowlock.http.answers import reply
from rowlock.http.bodies import DocumentBody
from rowlock.http.fields import METADATA, Cents
from rowlock.http.openapi.shapes import (
    array,
    created,
    instant,
    integer,
    nullable,
    record,
    text,
)
from rowlock.http.paging import PageQuery, paginate
from rowlock.http.request import path_id, read_optional_body, read_query
from rowlock.http.routes import Routes, route
from rowlock.http.submit import find_by_path, submit
from rowlock.orders import Orders
from rowlock.refunds import Refunds
from rowlock.refunds.rules import Refund, RefundOrder
from rowlock.rejections import (
    BalanceLimitExceeded,
    OrderNotFound,
    OrderNotRefundable,
    ReferenceTaken,
    RefundExceedsOrder,
    RefundNotFound,
)


class RefundBody(DocumentBody):
    """`{"amountCents": 500}`, or nothing for all that is left."""

    amount = Cents(data_key="amountCents", maximum=BALANCE_LIMIT, load_default=None)


REFUND_BODY = RefundBody()
PAGE_QUERY = PageQuery()

REFUND = record(
    "Refund",
    id=integer(1),
    orderId=integer(2),
    amountCents=integer(500, minimum=0),
    createdAt=instant(),
    reference=nullable(text("2026-0042")),
    metadata=nullable(METADATA),
)


class RefundRoutes(Routes):
    """Refunds. A key needs the scopes of orders, which they are a part of."""

    tag = "orders"

    def __init__(self, refunds: Refunds, orders: Orders) -> None:
        self._refunds = refunds
        self._orders = orders

    @route(
        "POST",
        "/orders/{id}/refunds",
        {201: created(REFUND, at="/orders/2/refunds/1")},
        OrderNotFound,
        OrderNotRefundable,
        RefundExceedsOrder,
        BalanceLimitExceeded,
        ReferenceTaken,
        body=REFUND_BODY,
        example={"amountCents": 500},
    )
    async def refund_order(self, request: web.Request) -> web.Response:
        """Refund an order into its user's balance: all that is left, or a part.

        A benefit order is refunded whole, and its products can be bought again.
        """
        order_id = path_id(request, OrderNotFound)
        body = await read_optional_body(request, REFUND_BODY)
        command = RefundOrder(order_id, **body, origin=origin_of(request))
        return await submit(request, self._refunds.make, command, _created)

    @route("GET", "/orders/{id}/refunds", {200: array(REFUND)}, OrderNotFound, query=PAGE_QUERY)
    async def list_refunds(self, request: web.Request) -> web.Response:
        """List an order's refunds, newest first."""
        query = read_query(request, PAGE_QUERY)
        limit = query["limit"]
        order = await find_by_path(request, self._orders.find, OrderNotFound)
        refunds = await self._refunds.list_page(
            order.id, before=query["before"], page_size=limit + 1
        )
        page, headers = paginate(request, refunds, limit, lambda refund: str(refund.id))
        return reply([_show(refund) for refund in page], headers=headers)

    @route("GET", "/orders/{id}/refunds/{refund_id}", {200: REFUND}, RefundNotFound)
    async def get_refund(self, request: web.Request) -> web.Response:
        """Get a refund of an order."""
        order_id = path_id(request, RefundNotFound)
        refund = await find_by_path(request, self._refunds.find, RefundNotFound, "refund_id")
        if refund.order_id != order_id:
            raise RefundNotFound.of(refund.id)
        return reply(_show(refund))


def _created(refund: Refund) -> web.Response:
    location = f"/orders/{refund.order_id}/refunds/{refund.id}"
    return reply(_show(refund), status=201, headers={"Location": location})


def _show(refund: Refund) -> dict[str, Any]:
    return {
        "id": refund.id,
        "orderId": refund.order_id,
        "amountCents": refund.amount,
        "createdAt": refund.created_at,
        "reference": refund.reference,
        "metadata": refund.metadata,
    }
