"""HTTP ↔ command: invoices. All amounts are minor units."""

from aiohttp import web
from marshmallow import fields, validate

from rowlock.errors import (
    BalanceLimitExceeded,
    InvoiceAlreadyPaid,
    InvoiceNotFound,
    UserNotFound,
)
from rowlock.http.access import origin_of
from rowlock.http.answers import reply
from rowlock.http.bodies import Body
from rowlock.http.fields import Cents, Integer, QueryInteger, Text
from rowlock.http.openapi.shapes import (
    array,
    choice,
    created,
    instant,
    integer,
    nullable,
    record,
    text,
)
from rowlock.http.paging import PageQuery, paginate
from rowlock.http.request import EMPTY_BODY, path_id, read_body, read_empty_body, read_query
from rowlock.http.routes import Routes, route
from rowlock.http.submit import find_by_path, submit
from rowlock.invoices import Invoices
from rowlock.invoices.rules import LABEL_LENGTH, STATUSES, CreateInvoice, Invoice, PayInvoice

AMOUNT_LIMIT = 1_000_000_000_000


class InvoiceBody(Body):
    """`{"user_id": 1, "amount": 11350, "label": "Work for April"}`."""

    user_id = Integer(required=True)
    amount = Cents(required=True, maximum=AMOUNT_LIMIT)
    label = Text(required=True, longest=LABEL_LENGTH, lines=True)


class InvoicesQuery(PageQuery):
    """The filters of the list."""

    user_id = QueryInteger(load_default=None)
    status = fields.String(validate=validate.OneOf(STATUSES), load_default=None)


INVOICE_BODY = InvoiceBody()
INVOICES_QUERY = InvoicesQuery()

INVOICE = record(
    "Invoice",
    id=integer(1),
    user_id=integer(1),
    amount=integer(11_350),
    label=text("Work for April"),
    status=choice(*STATUSES),
    created_at=instant(),
    paid_at=nullable(instant()),
)


class InvoiceRoutes(Routes):
    """Invoices."""

    tag = "invoices"

    def __init__(self, invoices: Invoices) -> None:
        self._invoices = invoices

    @route(
        "POST",
        "/invoices",
        {201: created(INVOICE, at="/invoices/1")},
        UserNotFound,
        body=INVOICE_BODY,
        example={"user_id": 1, "amount": 11350, "label": "Work for April"},
    )
    async def create_invoice(self, request: web.Request) -> web.Response:
        """Issue an invoice."""
        body = await read_body(request, INVOICE_BODY)
        command = CreateInvoice(**body, origin=origin_of(request))
        return await submit(request, self._invoices.create, command, _created)

    @route("GET", "/invoices/{id}", {200: INVOICE}, InvoiceNotFound)
    async def get_invoice(self, request: web.Request) -> web.Response:
        """Get an invoice."""
        invoice = await find_by_path(request, self._invoices.find, InvoiceNotFound)
        return reply(invoice)

    @route("GET", "/invoices", {200: array(INVOICE)}, query=INVOICES_QUERY)
    async def list_invoices(self, request: web.Request) -> web.Response:
        """List invoices, newest first."""
        query = read_query(request, INVOICES_QUERY)
        limit = query["limit"]
        invoices = await self._invoices.list_page(
            user_id=query["user_id"],
            status=query["status"],
            before=query["before"],
            page_size=limit + 1,
        )
        page, headers = paginate(request, invoices, limit, lambda invoice: str(invoice.id))
        return reply(page, headers=headers)

    @route(
        "POST",
        "/invoices/{id}/pay",
        {200: INVOICE},
        InvoiceNotFound,
        InvoiceAlreadyPaid,
        BalanceLimitExceeded,
        body=EMPTY_BODY,
        example={},
    )
    async def pay_invoice(self, request: web.Request) -> web.Response:
        """Pay an invoice into its user's balance."""
        command = PayInvoice(path_id(request, InvoiceNotFound), origin_of(request))
        await read_empty_body(request)
        return await submit(request, self._invoices.pay, command, reply)


def _created(invoice: Invoice) -> web.Response:
    return reply(invoice, status=201, headers={"Location": f"/invoices/{invoice.id}"})
