"""HTTP ↔ command: invoices. All amounts are minor units."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web
from marshmallow import fields, validate

from rowlock.http.access import origin_of
from rowlock.http.answers import reply
from rowlock.http.bodies import Body, DocumentBody
from rowlock.http.errors import envelope
from rowlock.http.exchange import EXCHANGE
from rowlock.http.fields import METADATA, Cents, Integer, JsonArray, Text
from rowlock.http.openapi.shapes import (
    ERROR,
    array,
    choice,
    created,
    example_of,
    instant,
    integer,
    nullable,
    record,
    text,
)
from rowlock.http.paging import DocumentsQuery, paginate
from rowlock.http.request import EMPTY_BODY, path_id, read_body, read_empty_body, read_query
from rowlock.http.routes import Routes, route
from rowlock.http.submit import find_by_path, submit
from rowlock.invoices import Invoices
from rowlock.invoices.rules import (
    AMOUNT_LIMIT,
    LABEL_LENGTH,
    STATUSES,
    CreateInvoice,
    CreateInvoices,
    Filter,
    Invoice,
    PayInvoice,
    ReverseInvoice,
    VoidInvoice,
)
from rowlock.rejections import (
    BalanceLimitExceeded,
    InsufficientBalance,
    InvoiceAlreadyPaid,
    InvoiceNotFound,
    InvoiceNotPaid,
    InvoiceNotPending,
    ReferenceTaken,
    Rejection,
    UserNotFound,
)

BATCH_INVOICES = 1000


class InvoiceBody(DocumentBody):
    """`{"user_id": 1, "amount": 11350, "label": "Work for April"}`."""

    user_id = Integer(required=True)
    amount = Cents(required=True, maximum=AMOUNT_LIMIT)
    label = Text(required=True, longest=LABEL_LENGTH, lines=True)


class InvoicesBody(Body):
    """`{"invoices": […]}`."""

    invoices = JsonArray(fields.Nested(InvoiceBody), longest=BATCH_INVOICES, required=True)


class InvoicesQuery(DocumentsQuery):
    """The filters of the list."""

    status = fields.String(
        validate=validate.OneOf(STATUSES), load_default=None, metadata={"title": "InvoiceStatus"}
    )


INVOICE_BODY = InvoiceBody()
INVOICES_BODY = InvoicesBody()
INVOICES_QUERY = InvoicesQuery()

INVOICE = record(
    "Invoice",
    id=integer(1),
    user_id=integer(1),
    amount=integer(11_350),
    label=text("Work for April"),
    status=choice(*STATUSES, title="InvoiceStatus"),
    created_at=instant(),
    paid_at=nullable(instant()),
    voided_at=nullable(instant()),
    reversed_at=nullable(instant()),
    reference=nullable(text("2026-0042")),
    metadata=nullable(METADATA),
)
OUTCOME = record("InvoiceOutcome", optional=("invoice", "error"), invoice=INVOICE, error=ERROR) | {
    "minProperties": 1,
    "maxProperties": 1,
    "examples": [{"invoice": example_of(INVOICE)}],
}


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
        ReferenceTaken,
        body=INVOICE_BODY,
        example={"user_id": 1, "amount": 11350, "label": "Work for April"},
    )
    async def create_invoice(self, request: web.Request) -> web.Response:
        """Issue an invoice."""
        body = await read_body(request, INVOICE_BODY)
        command = CreateInvoice(**body, origin=origin_of(request))
        return await submit(request, self._invoices.create, command, _created)

    @route(
        "POST",
        "/invoices/batch",
        {200: record("InvoiceOutcomes", outcomes=array(OUTCOME))},
        body=INVOICES_BODY,
        example={"invoices": [{"user_id": 1, "amount": 11350, "label": "Work for April"}]},
    )
    async def create_invoices(self, request: web.Request) -> web.Response:
        """Issue up to 1,000 invoices in one transaction.

        The outcomes are in the order of the invoices. Each is the invoice, or the error that it
        would have got alone: those of an unknown user or of a taken reference stop no other.
        """
        longest = request[EXCHANGE].limits.invoices_body_bytes
        body = await read_body(request, INVOICES_BODY, longest=longest)
        origin = origin_of(request)
        parts = tuple(CreateInvoice(**part, origin=origin) for part in body["invoices"])

        def present(outcomes: Sequence[Invoice | Rejection]) -> web.Response:
            return reply({"outcomes": [_show(outcome, request.path) for outcome in outcomes]})

        return await submit(request, self._invoices.create_many, CreateInvoices(parts), present)

    @route("GET", "/invoices/{id}", {200: INVOICE}, InvoiceNotFound)
    async def get_invoice(self, request: web.Request) -> web.Response:
        """Get an invoice."""
        invoice = await find_by_path(request, self._invoices.find, InvoiceNotFound)
        return reply(invoice)

    @route("GET", "/invoices", {200: array(INVOICE)}, query=INVOICES_QUERY)
    async def list_invoices(self, request: web.Request) -> web.Response:
        """List invoices, newest first."""
        query = read_query(request, INVOICES_QUERY)
        limit, before = query.pop("limit"), query.pop("before")
        invoices = await self._invoices.list_page(
            Filter(**query), before=before, page_size=limit + 1
        )
        page, headers = paginate(request, invoices, limit, lambda invoice: str(invoice.id))
        return reply(page, headers=headers)

    @route(
        "POST",
        "/invoices/{id}/pay",
        {200: INVOICE},
        InvoiceNotFound,
        InvoiceAlreadyPaid,
        InvoiceNotPending,
        BalanceLimitExceeded,
        body=EMPTY_BODY,
        example={},
    )
    async def pay_invoice(self, request: web.Request) -> web.Response:
        """Pay an invoice into its user's balance."""
        command = PayInvoice(path_id(request, InvoiceNotFound), origin_of(request))
        await read_empty_body(request)
        return await submit(request, self._invoices.pay, command, reply)

    @route(
        "POST",
        "/invoices/{id}/void",
        {200: INVOICE},
        InvoiceNotFound,
        InvoiceNotPending,
        body=EMPTY_BODY,
        example={},
    )
    async def void_invoice(self, request: web.Request) -> web.Response:
        """Make a pending invoice void, so that it is never paid."""
        command = VoidInvoice(path_id(request, InvoiceNotFound), origin_of(request))
        await read_empty_body(request)
        return await submit(request, self._invoices.void, command, reply)

    @route(
        "POST",
        "/invoices/{id}/reverse",
        {200: INVOICE},
        InvoiceNotFound,
        InvoiceNotPaid,
        InsufficientBalance,
        body=EMPTY_BODY,
        example={},
    )
    async def reverse_invoice(self, request: web.Request) -> web.Response:
        """Take a paid invoice back from its user's balance."""
        command = ReverseInvoice(path_id(request, InvoiceNotFound), origin_of(request))
        await read_empty_body(request)
        return await submit(request, self._invoices.reverse, command, reply)


def _created(invoice: Invoice) -> web.Response:
    return reply(invoice, status=201, headers={"Location": f"/invoices/{invoice.id}"})


def _show(outcome: Invoice | Rejection, path: str) -> dict[str, Any]:
    if isinstance(outcome, Rejection):
        return {"error": envelope(outcome, path)}
    return {"invoice": outcome}
